//! Whether a server that is asked for may be: image, flavor, quotas, zone. With Nova's words, in Nova's order.

use crate::core::actor::Actor;
use crate::core::flavor::Flavor;
use crate::core::ids::ProjectId;
use crate::core::image::{Image, Status};
use crate::core::quota::{Limits, Resource};
use crate::core::server::create::CreateServer;
use crate::core::server::node::Node;
use crate::core::server::{InjectedFile, ServerFlavor, ServerKey};
use crate::core::{Error, Result};
use crate::store::{Connection, flavors, images, keypairs, server_usage};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

const GIB: u64 = 1 << 30;

/// Where a server may be placed.
pub struct Placement {
    pub zone: Option<String>,
    /// Why it cannot be placed, known before anything else is looked at.
    pub impossible: Option<String>,
}

/// Which zone and host were asked for.
pub fn placement(command: &CreateServer, actor: &Actor, node: &Node) -> Result<Placement> {
    let mut wanted_hosts: Vec<&str> = Vec::new();
    let zone = match command.availability_zone.as_deref() {
        None => None,
        Some(text) => {
            let mut parts = text.splitn(3, ':');
            let zone = parts.next().unwrap_or_default();
            let hosts: Vec<&str> = parts.filter(|host| !host.is_empty()).collect();
            if text.contains(':') && !actor.is_admin() {
                return Err(forbidden("os_compute_api:servers:create:forced_host"));
            }
            if hosts.is_empty() && zone != node.zone {
                return Err(Error::invalid("The requested availability zone is not available"));
            }
            wanted_hosts.extend(hosts);
            (!zone.is_empty()).then(|| zone.to_owned())
        }
    };
    let destinations = [&command.requested_host, &command.requested_hypervisor_hostname];
    for host in destinations.into_iter().flatten() {
        if !actor.is_admin() {
            return Err(forbidden("compute:servers:create:requested_destination"));
        }
        if *host != node.name {
            return Err(Error::invalid(format!("Compute host {host} could not be found.")));
        }
    }
    let impossible = wanted_hosts
        .iter()
        .find(|host| **host != node.name)
        .map(|host| format!("Host {host} does not exist here; the only host is {}.", node.name));
    Ok(Placement { zone, impossible })
}

fn forbidden(rule: &str) -> Error {
    Error::forbidden(format!("Policy doesn't allow {rule} to be performed."))
}

/// The flavor as the server will keep it.
pub fn flavor(c: &Connection, actor: &Actor, project: &ProjectId, id: &str) -> Result<ServerFlavor> {
    let unknown = || Error::invalid(format!("Flavor {id} could not be found."));
    let seen_by = (!actor.is_admin()).then_some(project);
    let found: Flavor =
        flavors::get(c, id, seen_by)?.filter(|flavor| !flavor.disabled).ok_or_else(unknown)?;
    Ok(ServerFlavor {
        id: found.id,
        name: found.name,
        vcpus: found.vcpus,
        ram_mib: found.ram_mib,
        disk_gib: found.disk_gib,
        ephemeral_gib: found.ephemeral_gib,
        swap_mib: found.swap_mib,
        rxtx_factor: found.rxtx_factor,
        extra_specs: found.extra_specs,
    })
}

/// The image, if the caller may boot from it.
pub fn image(c: &Connection, actor: &Actor, command: &CreateServer) -> Result<Image> {
    let id = command.image_id.ok_or_else(|| Error::invalid("Missing imageRef attribute"))?;
    images::get(c, id)?
        .filter(|image| image.visible_to(actor))
        .ok_or_else(|| Error::invalid("Can not find requested image"))
}

/// The properties of an image that a server remembers.
pub fn kept_properties(image: &Image) -> BTreeMap<String, String> {
    let properties = image.properties.iter();
    properties.filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect()
}

/// Whether a server of this flavor can be made from this image.
pub fn check_fit(image: &Image, flavor: &ServerFlavor, actor: &Actor) -> Result<()> {
    if image.status != Status::Active {
        return Err(Error::invalid(format!("Image {} is not active.", image.id)));
    }
    if image.boot_format().is_none() {
        return Err(Error::invalid(format!(
            "Image {} is unacceptable: servers cannot be made from an image of this container format.",
            image.id
        )));
    }
    if flavor.ram_mib < u64::from(image.min_ram) {
        return Err(Error::invalid("Flavor's memory is too small for requested image."));
    }
    if flavor.disk_gib == 0 {
        if actor.is_admin() {
            return Ok(());
        }
        return Err(Error::forbidden("Only volume-backed servers are allowed for flavors with zero disk."));
    }
    let disk = flavor.disk_gib.saturating_mul(GIB);
    // A CD is not copied onto the disk.
    let needed =
        if image.boot_format() == Some("iso") { image.size } else { image.virtual_size.or(image.size) };
    if let Some(needed) = needed.filter(|needed| *needed > disk) {
        return Err(Error::invalid(format!(
            "Flavor's disk is too small for requested image. Flavor disk is {disk} bytes, image is {needed} bytes."
        )));
    }
    let minimum = u64::from(image.min_disk).saturating_mul(GIB);
    if minimum > disk {
        return Err(Error::invalid(format!(
            "Flavor's disk is smaller than the minimum size specified in image metadata. Flavor disk is {disk} bytes, \
             minimum size is {minimum} bytes."
        )));
    }
    Ok(())
}

/// The caller's key pair, copied.
pub fn key(c: &Connection, actor: &Actor, name: Option<&str>) -> Result<Option<ServerKey>> {
    let Some(name) = name else { return Ok(None) };
    let found = keypairs::get(c, &actor.user_id, name)?
        .ok_or_else(|| Error::invalid("Invalid key_name provided."))?;
    Ok(Some(ServerKey { name: found.name, kind: found.kind.as_str().to_owned(), public: found.public_key }))
}

/// Whether there are not more metadata items and files than the project may give a server.
pub fn check_contents(limits: &Limits, items: usize, personality: &[InjectedFile]) -> Result<()> {
    check_metadata(limits, items)?;
    let length = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let longest = |measure: fn(&InjectedFile) -> usize| {
        length(personality.iter().map(measure).max().unwrap_or_default())
    };
    if !limits.allows(Resource::InjectedFiles, 0, length(personality.len())) {
        return Err(Error::quota("Personality file limit exceeded"));
    }
    if !limits.allows(Resource::InjectedFilePathBytes, 0, longest(|file| file.path.len())) {
        let allowed = limits.of(Resource::InjectedFilePathBytes);
        return Err(Error::quota(format!("Personality file path exceeds maximum {allowed}")));
    }
    if !limits.allows(Resource::InjectedFileContentBytes, 0, longest(|file| file.contents.len())) {
        let allowed = limits.of(Resource::InjectedFileContentBytes);
        return Err(Error::quota(format!("Personality file content exceeds maximum {allowed}")));
    }
    Ok(())
}

/// Whether a server may have this many metadata items.
pub fn check_metadata(limits: &Limits, count: usize) -> Result<()> {
    if limits.allows(Resource::MetadataItems, 0, i64::try_from(count).unwrap_or(i64::MAX)) {
        return Ok(());
    }
    let allowed = limits.of(Resource::MetadataItems);
    Err(Error::quota(format!("Maximum number of metadata items exceeds {allowed}")))
}

/// How many servers of this flavor the project may have more now, of the counts that will do.
pub fn count_within_quota(
    c: &Connection,
    project: &ProjectId,
    limits: &Limits,
    flavor: &ServerFlavor,
    wanted: RangeInclusive<u32>,
) -> Result<u32> {
    let used = server_usage::of_project(c, project)?;
    let ram = i64::try_from(flavor.ram_mib).unwrap_or(i64::MAX);
    // In the order of their names, as the refusal lists them.
    let resources = [
        (Resource::Cores, i64::from(flavor.vcpus), used.cores),
        (Resource::Instances, 1, used.instances),
        (Resource::Ram, ram, used.ram_mib),
    ];
    let fits = |count: u32, (resource, each, used): (Resource, i64, i64)| {
        limits.allows(resource, used, each.saturating_mul(i64::from(count)))
    };
    let least = *wanted.start();
    let most = wanted.rev().find(|count| resources.iter().all(|resource| fits(*count, *resource)));
    if let Some(count) = most {
        return Ok(count);
    }
    let over: Vec<_> = resources.into_iter().filter(|resource| !fits(least, *resource)).collect();
    let list = |word: fn(Resource, i64, i64, &Limits, i64) -> String| {
        let count = i64::from(least);
        let words: Vec<String> =
            over.iter().map(|(resource, each, used)| word(*resource, *each, *used, limits, count)).collect();
        words.join(", ")
    };
    let names = list(|resource, _, _, _, _| resource.name().to_owned());
    let requested = list(|_, each, _, _, count| each.saturating_mul(count).to_string());
    let in_use = list(|_, _, used, _, _| used.to_string());
    let allowed = list(|resource, _, _, limits, _| limits.of(resource).to_string());
    Err(Error::quota(format!(
        "Quota exceeded for {names}: Requested {requested}, but already used {in_use} of {allowed} {names}"
    )))
}
