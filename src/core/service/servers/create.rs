//! Creating servers: one transaction checks everything, makes rows and ports, and appends the tasks.

use super::{Servers, actions, admission, neighbours, project_of};
use crate::core::actor::Actor;
use crate::core::ids::{self, ProjectId, ServerGroupId, ServerId};
use crate::core::image::Image;
use crate::core::secret::Secret;
use crate::core::server::create::{CreateServer, CreatedServers};
use crate::core::server::disks::OwnDisks;
use crate::core::server::hints::Hints;
use crate::core::server::image_meta;
use crate::core::server::naming;
use crate::core::server::node::{Claim, Node};
use crate::core::server::standing::{NO_HOST, Standing};
use crate::core::server::state::{PowerState, TaskState, VmState};
use crate::core::server::{DiskConfig, Server, ServerFlavor, ServerKey};
use crate::core::workflow::server_create::{CreateState, ServerCreate};
use crate::core::workflow::{ServerTask, enqueue};
use crate::core::{Error, Result};
use crate::store::server_ports::{self, PortOwner};
use crate::store::{Connection, node, quotas, server_groups, server_usage, servers};
use jiff::Timestamp;
use std::collections::BTreeMap;

impl Servers {
    /// Accepts a request for servers. What cannot be granted at all is refused and leaves nothing; servers for which this
    /// host has no room are made, in ERROR with a fault that says so.
    pub async fn create(&self, actor: &Actor, command: CreateServer) -> Result<CreatedServers> {
        let request = Request {
            actor: actor.clone(),
            project: project_of(actor)?.clone(),
            reservation_id: naming::reservation_id(ids::random_number()),
            admin_password: command
                .admin_password
                .clone()
                .unwrap_or_else(|| naming::password(ids::random_number()).into()),
            now: self.deps.clock.now(),
            command,
        };
        let node = self.node.clone();
        self.deps.store.write(move |c| request.carry_out(c, &node)).await
    }
}

/// A create with all that is decided once for all of its servers.
struct Request {
    actor: Actor,
    project: ProjectId,
    command: CreateServer,
    reservation_id: String,
    admin_password: Secret,
    now: Timestamp,
}

/// What was looked up for the request.
struct Found {
    standing: Standing,
    flavor: ServerFlavor,
    image: Image,
    image_properties: BTreeMap<String, String>,
    disk_config: DiskConfig,
    key: Option<ServerKey>,
    zone: Option<String>,
    group: Option<ServerGroupId>,
    /// Why none of the servers can be here.
    impossible: Option<String>,
}

impl Request {
    fn carry_out(self, c: &Connection, node: &Node) -> Result<CreatedServers> {
        let standing = node::standing(c, node)?;
        let placement = admission::placement(&self.command, &self.actor, node, &standing)?;
        let flavor = admission::flavor(c, &self.actor, &self.project, &self.command.flavor_id)?;
        let image = admission::image(c, &self.actor, &self.command)?;
        let key = admission::key(c, &self.actor, self.command.key_name.as_deref())?;
        admission::check_local_disks(&self.command.local_disks, &flavor)?;
        let image_properties = admission::checked_properties(&image)?;
        let disk_config = self.command.disk_config;
        image_meta::check_disk_config(&image_properties, image.id, disk_config).map_err(Error::invalid)?;
        let disk_config = disk_config.unwrap_or_else(|| image_meta::disk_config(&image_properties));
        let limits = quotas::user_limits(c, &self.project, &self.actor.user_id)?;
        admission::check_contents(&limits, self.command.metadata.len(), &self.command.personality)?;
        admission::check_fit(&image, &flavor, &self.actor)?;
        let hints = Hints::read(&self.command.scheduler_hints).map_err(Error::internal)?;
        let group = neighbours::group(c, &self.actor, &hints)?;
        let wanted = self.command.min_count..=self.command.max_count;
        let count = admission::count_within_quota(c, &self.project, &self.actor.user_id, &flavor, wanted)?;
        neighbours::check_members(c, &limits, group.as_ref(), &self.actor.user_id, count)?;
        let unwanted = neighbours::refuse_new(c, node, &hints, group.as_ref(), count)?;
        let found = Found {
            standing,
            flavor,
            image,
            zone: placement.zone,
            group: group.map(|group| group.id),
            impossible: placement
                .impossible
                .or_else(|| image_meta::misplaced(&image_properties))
                .or(unwanted),
            image_properties,
            disk_config,
            key,
        };
        let ids = (0..count).map(|index| self.one(c, node, &found, index, count)).collect::<Result<_>>()?;
        Ok(CreatedServers {
            reservation_id: self.reservation_id,
            ids,
            admin_password: self.admin_password,
            disk_config,
        })
    }

    /// Makes the server at `index` of `count`.
    fn one(&self, c: &Connection, node: &Node, found: &Found, index: u32, count: u32) -> Result<ServerId> {
        let obstacle = match &found.impossible {
            Some(reason) => Some(reason.clone()),
            None => lacks_room(c, node, &found.flavor)?,
        };
        let mut server = self.server(node, found, index, count);
        if obstacle.is_some() {
            (server.vm_state, server.task_state, server.host) = (VmState::Error, None, None);
        }
        servers::insert(c, &server)?;
        if let Some(group) = found.group {
            server_groups::join(c, group, server.id)?;
        }
        let action = actions::record(c, &self.actor, &server, "create", self.now)?;
        match obstacle {
            Some(reason) => self.refuse_placement(c, &server, action, &reason)?,
            None => self.set_going(c, node, &found.standing, &server, action)?,
        }
        Ok(server.id)
    }

    fn set_going(
        &self,
        c: &Connection,
        node: &Node,
        standing: &Standing,
        server: &Server,
        action: i64,
    ) -> Result<()> {
        let owner = PortOwner {
            server: server.id,
            project: &self.project,
            admin: self.actor.is_admin(),
            zone: &standing.zone,
            host: &node.name,
            security_groups: &self.command.security_groups,
            now: self.now,
        };
        server_ports::plan_server_ports(c, &owner, &self.command.networks)?;
        let state = CreateState {
            task: ServerTask { server: server.id, action, host: server.host.clone() },
            admin_password: self.admin_password.clone(),
        };
        enqueue::<ServerCreate>(c, server.id, &state, &self.actor.request_id.0, self.now)?;
        Ok(())
    }

    /// The server exists and says why it cannot be anywhere.
    fn refuse_placement(&self, c: &Connection, server: &Server, action: i64, reason: &str) -> Result<()> {
        let message = format!("No valid host was found. {reason}");
        let events = ["conductor_schedule_and_build_instances"];
        actions::refuse(c, server, action, &events, &message, self.now)
    }

    fn server(&self, node: &Node, found: &Found, index: u32, count: u32) -> Server {
        let command = &self.command;
        let id = ServerId::random();
        let name = naming::of_many(&command.name, index, count);
        let property = |name| found.image_properties.get(name).map(String::as_str);
        let mut tags = command.tags.clone();
        tags.sort_unstable();
        tags.dedup();
        Server {
            number: 0,
            id,
            project_id: self.project.clone(),
            user_id: self.actor.user_id.clone(),
            hostname: command.hostname.clone().unwrap_or_else(|| naming::hostname(&name, id)),
            name,
            description: command.description.clone(),
            vm_state: VmState::Building,
            task_state: Some(TaskState::Scheduling),
            power_state: PowerState::NoState,
            progress: 0,
            host: Some(node.name.clone()),
            image_id: Some(found.image.id),
            image_format: found.image.boot_format().map(str::to_owned),
            root_device_name: Some(
                naming::root_device(
                    command.local_disks.root.bus.as_deref().or(property("hw_disk_bus")),
                    property("hw_machine_type"),
                )
                .to_owned(),
            ),
            disks: OwnDisks {
                root: command.local_disks.root.clone(),
                ephemeral: command.local_disks.ephemeral.clone(),
                swap: command.local_disks.swap.first().cloned().unwrap_or_default(),
            },
            config_drive: command.config_drive == Some(true)
                || node.force_config_drive
                || property("img_config_drive") == Some("mandatory"),
            image_properties: found.image_properties.clone(),
            kernel_id: String::new(),
            ramdisk_id: String::new(),
            flavor: found.flavor.clone(),
            key: found.key.clone(),
            pinned_zone: found.zone.clone(),
            metadata: command.metadata.clone(),
            tags,
            user_data: command.user_data.clone(),
            personality: command.personality.clone(),
            security_groups: command.security_groups.clone(),
            access_ip_v4: command.access_ip_v4,
            access_ip_v6: command.access_ip_v6,
            disk_config: found.disk_config,
            reservation_id: self.reservation_id.clone(),
            launch_index: index,
            lock: None,
            scheduler_hints: command.scheduler_hints.clone(),
            trusted_certificates: command.trusted_certificates.clone(),
            guest_password: String::new(),
            resize: None,
            rescue: None,
            shelved: None,
            soft_deleted_at: None,
            min_disk_gib: found.flavor.disk_gib.max(u64::from(found.image.min_disk)),
            min_ram_mib: u64::from(found.image.min_ram),
            created_at: self.now,
            updated_at: self.now,
            launched_at: None,
            terminated_at: None,
            deleted_at: None,
        }
    }
}

/// Why this host cannot take one more server of the flavor.
pub(super) fn lacks_room(
    c: &Connection,
    node: &Node,
    flavor: &ServerFlavor,
) -> Result<Option<String>, Error> {
    if !node::standing(c, node)?.takes_servers() {
        return Ok(Some(NO_HOST.to_owned()));
    }
    let used = server_usage::of_host(c, &node.name)?;
    let promised = Claim { cores: used.cores, ram_mib: used.ram_mib, disk_mib: used.disk_mib };
    Ok(node.capacity.lacks(promised, Claim::of(flavor)))
}
