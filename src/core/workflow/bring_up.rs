//! What several workflows do to bring a guest up or to take it away: reservations, files, definition, power.

use super::{Blame, ServerEnv, Subject, domain, guest};
use crate::core::ids::{ImageId, NetworkId, PortId, ServerId, random_bytes};
use crate::core::port::ServerNic;
use crate::core::reconcile::host_networks::{ensure_rules, nic_reservation, spec};
use crate::core::secret::Secret;
use crate::core::server::{Rescue, Server};
use crate::host::disk::ImageFormat;
use crate::host::guest::{CONFIG_DRIVE_LABEL, iso9660};
use crate::host::hypervisor::spec::{DomainSpec, NicAttachment};
use crate::host::hypervisor::{DeviceAddresses, DomainState, HypervisorError};
use crate::host::net::{HostPortSpec, NetError, NetworkMode};
use crate::host::storage::{BootSource, DiskPlan, RescuePlan, ServerFiles};
use crate::store::server_ports;
use crate::task::{StepContext, StepError};
use futures_util::future::try_join_all;
use std::collections::BTreeSet;

/// Fails if the host does not have what the server's image asks for: nobody gets other hardware unasked.
pub fn check_hardware(server: &Server) -> Result<(), StepError> {
    domain::unsupported(server).map_or(Ok(()), |reason| Err(StepError::new(400, reason)))
}

/// Ensures that every NIC gets its address from DHCP, and may send and receive what it should. A network that is not on
/// the host any more is made again.
pub async fn reserve_addresses(env: &ServerEnv, subject: &Subject) -> Result<(), StepError> {
    if subject.nics.iter().any(|nic| !nic.bound) {
        bind_ports(env, &subject.nics, env.node.name.clone()).await?;
    }
    let reservations = subject.nics.iter().filter_map(|nic| {
        let port = nic_reservation(nic, &subject.server.hostname)?;
        Some(async move { reserve(env, nic.network_id, &port).await })
    });
    try_join_all(reservations).await?;
    filter(env, &subject.nics).await
}

/// Binds the ports of these NICs to a node, where they are filtered, or to none.
async fn bind_ports(env: &ServerEnv, nics: &[ServerNic], host: String) -> Result<(), StepError> {
    let ports: Vec<PortId> = nics.iter().map(|nic| nic.port_id).collect();
    Ok(env.store.write(move |c| server_ports::set_ports_host(c, &ports, &host)).await?)
}

/// Has the host filter what the networks of these NICs carry.
pub async fn filter(env: &ServerEnv, nics: &[ServerNic]) -> Result<(), StepError> {
    let networks: BTreeSet<NetworkId> = nics.iter().map(|nic| nic.network_id).collect();
    for network in networks {
        ensure_rules(&env.store, &*env.network, network)
            .await
            .blame(&format!("Filtering network {network} on this host"))?;
    }
    Ok(())
}

async fn reserve(env: &ServerEnv, network: NetworkId, port: &HostPortSpec) -> Result<(), StepError> {
    let tried = format!("Reserving address {} on network {network}", port.address);
    match env.network.ensure_port(network, port).await {
        Err(NetError::NotFound(_)) => {
            let spec = env.store.read(move |c| spec(c, network)).await?.ok_or_else(|| {
                StepError::new(
                    500,
                    format!("{tried} failed: the network has no subnet with a gateway. Give it one."),
                )
            })?;
            env.network
                .ensure_network(&spec)
                .await
                .blame(&format!("Making network {network} on this host"))?;
            env.network.ensure_port(network, port).await.blame(&tried)
        }
        result => result.blame(&tried),
    }
}

/// Ensures that no NIC has an address from DHCP any more, or rules. No guest must have these NICs.
pub async fn forget_addresses(env: &ServerEnv, subject: &Subject) -> Result<(), StepError> {
    // Others who write the rules of the same network must not bring those of these ports back.
    if subject.nics.iter().any(|nic| nic.bound) {
        bind_ports(env, &subject.nics, String::new()).await?;
    }
    let removals = subject.nics.iter().map(|nic| async move {
        env.network
            .remove_port(nic.network_id, &nic.mac.to_string())
            .await
            .blame(&format!("Removing the reservation of port {}", nic.port_id))
    });
    try_join_all(removals).await?;
    filter(env, &subject.nics).await
}

/// The files that the server should have, with the bytes of the config drive.
pub fn disk_plan(server: &Server, config_drive: Option<Vec<u8>>) -> Result<DiskPlan, StepError> {
    let image = server
        .image_id
        .ok_or_else(|| StepError::new(400, "The server has no image that it could be started from."))?;
    let boot = boot_source(image, server.image_format.as_deref().unwrap_or("raw"))?;
    Ok(DiskPlan {
        server: server.id,
        boot,
        root_gib: server.flavor.disk_gib,
        ephemeral_gib: server.ephemeral_gib(),
        swap_mib: server.swap_mib(),
        rescue: match &server.rescue {
            // Where a config drive is matters here, not what is on it.
            Some(rescue) => Some(rescue_plan(rescue, Vec::new())?),
            None => None,
        },
        config_drive,
    })
}

/// What a server of an image of this format boots from.
pub fn boot_source(image: ImageId, format: &str) -> Result<BootSource, StepError> {
    let format: ImageFormat =
        format.parse().map_err(|error: crate::host::disk::inspect::UnknownFormat| StepError::of(&error))?;
    if format == ImageFormat::Iso {
        return Ok(BootSource::Cd { image });
    }
    Ok(BootSource::Disk { image, format })
}

/// The files that a rescued server has besides its own, with the bytes of the rescue system's config drive.
pub fn rescue_plan(rescue: &Rescue, config_drive: Vec<u8>) -> Result<RescuePlan, StepError> {
    Ok(RescuePlan { boot: boot_source(rescue.image_id, &rescue.image_format)?, config_drive })
}

/// The bytes of the server's config drive, if it has one. A server that comes back gets no new password.
pub fn config_drive(
    env: &ServerEnv,
    subject: &Subject,
    password: Option<&Secret>,
) -> Result<Option<Vec<u8>>, StepError> {
    let bytes = || config_drive_bytes(env, subject, password, DeviceAddresses::default());
    subject.server.config_drive.then(bytes).transpose()
}

/// The bytes of a config drive. They hold the administrator's password, and where devices are, as far as it is known.
pub fn config_drive_bytes(
    env: &ServerEnv,
    subject: &Subject,
    password: Option<&Secret>,
    addresses: DeviceAddresses,
) -> Result<Vec<u8>, StepError> {
    let extras = guest::Extras {
        zone: subject.zone.clone(),
        admin_password: password.map(|password| password.clone().into()),
        random_seed: random_bytes(512),
        addresses,
        dhcp_only: env.network.mode() == NetworkMode::User,
    };
    let documents = guest::documents(&subject.server, &subject.nics, extras);
    iso9660::write(CONFIG_DRIVE_LABEL, &documents.config_drive(), subject.server.created_at)
        .map_err(|error| StepError::of(&error))
}

/// The files that the server runs on.
pub async fn files(env: &ServerEnv, subject: &Subject) -> Result<ServerFiles, StepError> {
    // Where a config drive is matters here, not what is on it.
    let plan = disk_plan(&subject.server, subject.server.config_drive.then(Vec::new))?;
    let files = env.storage.find(&plan).await.blame("Looking for the disks")?;
    if files.root.is_none() {
        return Err(StepError::new(
            500,
            "The root disk of the server is gone from this host. Delete the server, or rebuild it.",
        ));
    }
    if subject.server.rescue.is_some() && files.rescue.is_none() {
        return Err(StepError::new(
            500,
            "The rescue disk of the server is gone from this host. Unrescue it.",
        ));
    }
    Ok(files)
}

/// Ensures that the domain is defined as the rows say, over the files that exist.
pub async fn define(env: &ServerEnv, subject: &Subject) -> Result<(), StepError> {
    let files = files(env, subject).await?;
    let spec = domain_spec(env, subject, &files);
    env.hypervisor.define(&spec).await.blame("Defining the guest")
}

pub fn domain_spec(env: &ServerEnv, subject: &Subject, files: &ServerFiles) -> DomainSpec {
    let console_log = env.storage.console_log(subject.server.id);
    domain::spec(&subject.server, &subject.nics, files, console_log, |nic| attachment(env, nic))
}

fn attachment(env: &ServerEnv, nic: &ServerNic) -> NicAttachment {
    match env.network.mode() {
        NetworkMode::Bridged => NicAttachment::HostNetwork { name: env.network.host_name(nic.network_id) },
        NetworkMode::User => NicAttachment::User,
    }
}

/// Ensures that the domain has these NICs, which get their addresses. One that is off for good gets them at its next start.
pub async fn plug_in(env: &ServerEnv, subject: &Subject) -> Result<(), StepError> {
    for nic in domain::nics(&subject.server, &subject.nics, |nic| attachment(env, nic)) {
        let plugged = env.hypervisor.attach_nic(subject.server.id, &nic).await;
        match plugged {
            Err(HypervisorError::NotFound(_)) => {}
            result => result.blame("Plugging in the NIC")?,
        }
    }
    Ok(())
}

/// Ensures that the domain has these NICs no more.
pub async fn unplug(env: &ServerEnv, subject: &Subject) -> Result<(), StepError> {
    for nic in &subject.nics {
        let mac = nic.mac.to_string();
        env.hypervisor.detach_nic(subject.server.id, &mac).await.blame("Unplugging the NIC")?;
    }
    Ok(())
}

/// Ensures that the config drive of a guest that has not read it, or of a rescue system, tells where devices with tags are,
/// which is known once the guest is defined.
pub async fn tell_addresses(
    env: &ServerEnv,
    subject: &Subject,
    password: Option<&Secret>,
) -> Result<(), StepError> {
    let server = &subject.server;
    let has_drive = server.config_drive || server.rescue.is_some();
    if !has_drive || !guest::has_tags(server, &subject.nics) {
        return Ok(());
    }
    let state = env.hypervisor.state(server.id).await.blame("Looking at the guest")?;
    if !matches!(state, None | Some(DomainState::ShutOff | DomainState::Crashed)) {
        return Ok(());
    }
    define(env, subject).await?;
    let addresses =
        env.hypervisor.device_addresses(server.id).await.blame("Looking for the guest's devices")?;
    let bytes = config_drive_bytes(env, subject, password, addresses)?;
    let written = if server.rescue.is_some() {
        env.storage.write_rescue_config_drive(server.id, bytes).await
    } else {
        env.storage.write_config_drive(server.id, bytes).await
    };
    written.blame("Writing the config drive")
}

/// Ensures that the guest runs on what the rows say. Memory that was saved is let go: it may not fit its disks any more.
pub async fn power_on(env: &ServerEnv, subject: &Subject) -> Result<(), StepError> {
    env.hypervisor.discard_saved(subject.server.id).await.blame("Letting the guest's saved memory go")?;
    define(env, subject).await?;
    env.hypervisor.start(subject.server.id).await.blame("Starting the guest")
}

/// Ensures that the guest runs on what the rows say and gets its addresses.
pub async fn start(env: &ServerEnv, subject: &Subject) -> Result<(), StepError> {
    reserve_addresses(env, subject).await?;
    power_on(env, subject).await
}

/// Ensures that the guest is what the rows say, running or not.
pub async fn bring_back(env: &ServerEnv, subject: &Subject, running: bool) -> Result<(), StepError> {
    if running { start(env, subject).await } else { define(env, subject).await }
}

/// Lets a guest run again that ran before, unless somebody else decides about it now.
pub async fn start_again(
    env: &ServerEnv,
    id: ServerId,
    ran: bool,
    context: &StepContext,
) -> Result<(), StepError> {
    if !ran || context.preempted.is_cancelled() {
        return Ok(());
    }
    start(env, &env.load(id).await?).await
}

/// Ensures that a guest whose memory is on the disk goes on from there.
pub async fn wake(env: &ServerEnv, subject: &Subject) -> Result<(), StepError> {
    reserve_addresses(env, subject).await?;
    let started = env.hypervisor.start(subject.server.id).await.blame("Restoring the guest's memory");
    started.map_err(|mut error| {
        if !error.transient {
            error.message +=
                ". Reboot the server hard: it then begins from its disk, without what was in its memory.";
        }
        error
    })
}

/// Ensures that the guest does not run.
pub async fn cut_power(env: &ServerEnv, id: ServerId) -> Result<(), StepError> {
    env.hypervisor.destroy(id).await.blame("Cutting the guest's power")
}

/// Ensures that there is no domain.
pub async fn remove_domain(env: &ServerEnv, id: ServerId) -> Result<(), StepError> {
    cut_power(env, id).await?;
    env.hypervisor.undefine(id).await.blame("Removing the guest's definition")
}
