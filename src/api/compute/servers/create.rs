//! `POST /servers`: from the body to the typed command.

use super::block_devices::{self, Device, LegacyDevice};
use super::tables;
use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::links::{Base, Links};
use crate::api::compute::request;
use crate::api::compute::schema::wire;
use crate::core::ids::{ImageId, NetworkId, PortId, ServerId};
use crate::core::port::{Networking, NicRequest};
use crate::core::secret::Secret;
use crate::core::server::create::{CreateServer, LocalDisks};
use crate::core::server::{DiskConfig, InjectedFile};
use crate::core::{Error, Result};
use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Deserialize)]
struct Body {
    server: New,
    #[serde(rename = "os:scheduler_hints", alias = "OS-SCH-HNT:scheduler_hints")]
    hints: Option<Value>,
}

#[derive(Deserialize)]
struct New {
    name: String,
    #[serde(rename = "imageRef")]
    image: Option<String>,
    #[serde(rename = "flavorRef", deserialize_with = "wire::text")]
    flavor: String,
    #[serde(rename = "adminPass")]
    admin_password: Option<Secret>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    networks: Option<Networks>,
    #[serde(rename = "OS-DCF:diskConfig")]
    disk_config: Option<DiskConfig>,
    #[serde(rename = "accessIPv4")]
    access_ip_v4: Option<Ipv4Addr>,
    #[serde(rename = "accessIPv6")]
    access_ip_v6: Option<Ipv6Addr>,
    #[serde(default)]
    personality: Vec<File>,
    availability_zone: Option<String>,
    block_device_mapping: Option<Vec<LegacyDevice>>,
    block_device_mapping_v2: Option<Vec<Device>>,
    #[serde(default, deserialize_with = "wire::maybe_flag")]
    config_drive: Option<bool>,
    key_name: Option<String>,
    #[serde(default, deserialize_with = "wire::maybe_number")]
    min_count: Option<i64>,
    #[serde(default, deserialize_with = "wire::maybe_number")]
    max_count: Option<i64>,
    #[serde(default, deserialize_with = "wire::maybe_flag")]
    return_reservation_id: Option<bool>,
    security_groups: Option<Vec<Group>>,
    user_data: Option<String>,
    description: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    trusted_image_certificates: Option<Vec<String>>,
    host: Option<String>,
    hypervisor_hostname: Option<String>,
    hostname: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Networks {
    Word(String),
    List(Vec<Network>),
}

#[derive(Deserialize)]
struct Network {
    uuid: Option<String>,
    port: Option<String>,
    fixed_ip: Option<IpAddr>,
    tag: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct File {
    path: Option<String>,
    contents: Option<String>,
}

#[derive(Deserialize)]
struct Group {
    name: Option<String>,
}

/// The last part of what may be a URL.
pub(super) fn last_part(text: &str) -> &str {
    text.rsplit('/').next().unwrap_or(text)
}

fn networking(networks: Option<Networks>) -> Result<Networking> {
    let list = match networks {
        None => return Ok(Networking::Absent),
        Some(Networks::Word(word)) if word == "auto" => return Ok(Networking::Auto),
        Some(Networks::Word(_)) => return Ok(Networking::None),
        Some(Networks::List(list)) if list.is_empty() => return Ok(Networking::Absent),
        Some(Networks::List(list)) => list,
    };
    let mut nics: Vec<NicRequest> = Vec::new();
    for network in list {
        let mut nic = NicRequest { fixed_ip: network.fixed_ip, tag: network.tag, ..NicRequest::default() };
        if let Some(port) = network.port {
            if let Some(address) = network.fixed_ip {
                return Err(Error::invalid(format!(
                    "Specified Fixed IP '{address}' cannot be used with port '{port}': the two cannot be specified \
                     together."
                )));
            }
            let id: PortId =
                port.parse().map_err(|_| Error::invalid(format!("Port id {port} could not be found.")))?;
            if nics.iter().any(|other| other.port == Some(id)) {
                return Err(Error::invalid(format!(
                    "Port ID '{port}' was specified twice: you cannot attach a port multiple times."
                )));
            }
            nic.port = Some(id);
        } else {
            let uuid = network.uuid.ok_or_else(|| Error::invalid("Bad network format: missing 'uuid'"))?;
            let id: NetworkId = uuid.parse().map_err(|_| {
                Error::invalid(format!("Bad networks format: network uuid is not in proper format ({uuid})"))
            })?;
            nic.network = Some(id);
        }
        nics.push(nic);
    }
    Ok(Networking::List(nics))
}

/// The image to boot from, and the disks besides it.
fn boot_devices(new: &New) -> Result<(ImageId, LocalDisks)> {
    let legacy = new.block_device_mapping.as_deref().unwrap_or_default();
    let devices = new.block_device_mapping_v2.as_deref().unwrap_or_default();
    block_devices::read(new.image.as_deref().map(last_part), legacy, devices)
}

/// How many servers, at least and at most.
fn counts(new: &New) -> Result<(u32, u32)> {
    let least = new.min_count.unwrap_or(1);
    let most = new.max_count.unwrap_or(least);
    if least > most {
        return Err(Error::invalid("min_count must be <= max_count"));
    }
    let count = |number| u32::try_from(number).map_err(|_| Error::invalid("The count is too large."));
    Ok((count(least)?, count(most)?))
}

/// What cannot be given to several servers.
fn check_many(new: &New, networking: &Networking, most: u32) -> Result<()> {
    if most <= 1 {
        return Ok(());
    }
    if new.hostname.is_some() {
        return Err(Error::invalid("Unable to allocate a single hostname to multiple instances"));
    }
    if let Networking::List(nics) = networking {
        if nics.iter().any(|nic| nic.fixed_ip.is_some()) {
            return Err(Error::invalid(
                "Failed to launch instances: max_count cannot be greater than 1 if an fixed_ip is specified.",
            ));
        }
        if nics.iter().any(|nic| nic.port.is_some()) {
            return Err(Error::invalid(
                "Unable to launch multiple instances with a single configured port ID. Please launch your instance \
                 one by one with different ports.",
            ));
        }
    }
    Ok(())
}

/// A host named in two ways would be a riddle.
fn check_host(new: &New) -> Result<()> {
    let in_zone = new.availability_zone.as_deref().is_some_and(|zone| zone.contains(':'));
    if in_zone && (new.host.is_some() || new.hypervisor_hostname.is_some()) {
        return Err(Error::invalid(
            "One mechanism with host and/or hypervisor_hostname and another mechanism with zone:host:node are mutually \
             exclusive.",
        ));
    }
    Ok(())
}

fn command(mut new: New, hints: Option<&Value>, call: &Call) -> Result<CreateServer> {
    let (min_count, max_count) = counts(&new)?;
    check_host(&new)?;
    let networks = networking(new.networks.take())?;
    check_many(&new, &networks, max_count)?;
    let (image_id, local_disks) = boot_devices(&new)?;
    let trim = |text: String| if call.legacy { text.trim().to_owned() } else { text };
    let name = trim(new.name);
    let personality = personality(new.personality)?;
    Ok(CreateServer {
        description: if call.minor >= 19 { new.description } else { Some(name.clone()) },
        name,
        hostname: new.hostname,
        image_id: Some(image_id),
        local_disks,
        flavor_id: last_part(&new.flavor).to_owned(),
        networks,
        security_groups: group_names(new.security_groups.as_deref()),
        key_name: new.key_name.map(trim),
        availability_zone: new.availability_zone.map(trim),
        requested_host: new.host,
        requested_hypervisor_hostname: new.hypervisor_hostname,
        metadata: new.metadata,
        tags: new.tags,
        config_drive: new.config_drive,
        user_data: new.user_data,
        personality,
        admin_password: new.admin_password,
        access_ip_v4: new.access_ip_v4,
        access_ip_v6: new.access_ip_v6,
        disk_config: new.disk_config,
        scheduler_hints: hints.map_or_else(|| "{}".to_owned(), Value::to_string),
        trusted_certificates: new.trusted_image_certificates,
        min_count,
        max_count,
    })
}

/// The files to be put into a guest.
pub(super) fn personality(files: Vec<File>) -> Result<Vec<InjectedFile>> {
    let file = |file: File| match (file.path, file.contents) {
        (Some(path), Some(contents)) => Ok(InjectedFile { path, contents }),
        (None, _) => Err(Error::invalid("Bad personality format: missing 'path'")),
        (_, None) => Err(Error::invalid("Bad personality format: missing 'contents'")),
    };
    files.into_iter().map(file).collect()
}

fn group_names(groups: Option<&[Group]>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in groups.unwrap_or_default().iter().filter_map(|group| group.name.as_deref()) {
        let name = name.trim();
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

#[derive(Serialize)]
struct Reservation<'a> {
    reservation_id: &'a str,
}

#[derive(Serialize)]
struct Created<'a> {
    server: CreatedServer<'a>,
}

#[derive(Serialize)]
struct CreatedServer<'a> {
    id: ServerId,
    links: Links<'a>,
    #[serde(rename = "OS-DCF:diskConfig")]
    disk_config: DiskConfig,
    security_groups: Vec<GroupName<'a>>,
    #[serde(rename = "adminPass")]
    admin_password: &'a str,
}

#[derive(Serialize)]
struct GroupName<'a> {
    name: &'a str,
}

pub async fn create(mut call: Call) -> Outcome {
    let body: Body = request::body(&mut call, &tables::CREATE).await?;
    request::authorize(&call)?;
    let reservation_only = body.server.return_reservation_id == Some(true);
    let mut groups = group_names(body.server.security_groups.as_deref());
    if groups.is_empty() {
        groups.push("default".to_owned());
    }
    let command = command(body.server, body.hints.as_ref(), &call)?;
    let made = call.state.services.servers.create(call.actor()?, command).await?;
    if reservation_only {
        let body = Reservation { reservation_id: &made.reservation_id };
        return Ok(Reply::json(StatusCode::ACCEPTED, &body)?);
    }
    let base = Base::of(&call);
    let id = made.ids.first().ok_or_else(|| Error::internal("a create made no server"))?;
    let server = CreatedServer {
        id: *id,
        links: Links::to(&base, "servers", id),
        disk_config: made.disk_config,
        security_groups: groups.iter().map(|name| GroupName { name }).collect(),
        admin_password: made.admin_password.expose(),
    };
    let location = base.url("servers", &id.to_string());
    Ok(Reply::json(StatusCode::ACCEPTED, &Created { server })?.header("location", &location))
}
