//! Whether a server that is asked for may be: image, flavor, quotas, zone. With Nova's words, in Nova's order.

use crate::core::actor::Actor;
use crate::core::flavor::Flavor;
use crate::core::ids::{ProjectId, UserId};
use crate::core::image::{Image, Status};
use crate::core::quota::{Limits, Resource};
use crate::core::server::create::{CreateServer, LocalDisks};
use crate::core::server::disks::ephemeral_sizes;
use crate::core::server::image_meta;
use crate::core::server::node::{Claim, Node};
use crate::core::server::standing::{INTERNAL_ZONE, NO_HOST, Standing};
use crate::core::server::{InjectedFile, Server, ServerFlavor, ServerKey};
use crate::core::{Error, Result};
use crate::store::{Connection, flavors, images, keypairs, quotas, server_usage};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

const GIB: u64 = 1 << 30;
/// The most local disks that a request may name; Nova's default.
const LOCAL_DISKS: usize = 3;

/// Where a server may be placed.
pub struct Placement {
    pub zone: Option<String>,
    /// Why it cannot be placed, known before anything else is looked at.
    pub impossible: Option<String>,
}

/// Which zone and host were asked for.
pub fn placement(
    command: &CreateServer,
    actor: &Actor,
    node: &Node,
    standing: &Standing,
) -> Result<Placement> {
    let asked = command.availability_zone.as_deref().map(ZoneRequest::parse).transpose()?.unwrap_or_default();
    if asked.hosts().next().is_some() && !actor.is_admin() {
        return Err(forbidden("os_compute_api:servers:create:forced_host"));
    }
    if asked.host.is_none() && asked.zone.is_some_and(|zone| zone != INTERNAL_ZONE && !standing.offers(zone))
    {
        return Err(Error::invalid("The requested availability zone is not available"));
    }
    let destinations = [&command.requested_host, &command.requested_hypervisor_hostname];
    for host in destinations.into_iter().flatten() {
        if !actor.is_admin() {
            return Err(forbidden("compute:servers:create:requested_destination"));
        }
        if *host != node.name {
            return Err(unknown_host(host));
        }
    }
    let foreign = asked
        .hosts()
        .find(|host| *host != node.name)
        .map(|host| format!("Host {host} does not exist here; the only host is {}.", node.name));
    // The zone is there, but its services run no guests.
    let internal = asked.zone == Some(INTERNAL_ZONE) && foreign.is_none();
    let impossible = foreign.or_else(|| internal.then(|| NO_HOST.to_owned()));
    Ok(Placement { zone: asked.zone.map(str::to_owned), impossible })
}

/// What `availability_zone` asks for: `zone`, `zone:host`, `zone:host:node` or `zone::node`. Each part may be empty.
#[derive(Debug, Default, PartialEq, Eq)]
struct ZoneRequest<'a> {
    zone: Option<&'a str>,
    /// Said, if only as nothing: then the zone is not looked at.
    host: Option<&'a str>,
    node: Option<&'a str>,
}

impl<'a> ZoneRequest<'a> {
    fn parse(text: &'a str) -> Result<Self> {
        let (zone, host, node) = match text.split(':').collect::<Vec<_>>()[..] {
            [zone] => (zone, None, None),
            [zone, host] => (zone, Some(host), None),
            [zone, "", node] => (zone, None, Some(node)),
            [zone, host, node] => (zone, Some(host), Some(node)),
            _ => return Err(Error::invalid("Invalid input received: Unable to parse availability_zone")),
        };
        Ok(Self { zone: Some(zone).filter(|zone| !zone.is_empty()), host, node })
    }

    /// The hosts that are named.
    fn hosts(&self) -> impl Iterator<Item = &'a str> {
        self.host.into_iter().chain(self.node).filter(|host| !host.is_empty())
    }
}

/// The caller may do this, but not in this way.
pub fn forbidden(rule: &str) -> Error {
    Error::forbidden(format!("Policy doesn't allow {rule} to be performed."))
}

pub fn unknown_host(host: &str) -> Error {
    Error::invalid(format!("Compute host {host} could not be found."))
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
fn kept_properties(image: &Image) -> BTreeMap<String, String> {
    let properties = image.properties.iter();
    properties.filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect()
}

/// The properties of an image for a server; refused if one has a value that there is none.
pub fn checked_properties(image: &Image) -> Result<BTreeMap<String, String>> {
    let properties = kept_properties(image);
    image_meta::check(&properties)
        .map_err(|fault| Error::invalid(format!("Invalid image metadata. Error: {fault}")))?;
    Ok(properties)
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
    let config_drive = image.properties.get("img_config_drive").and_then(Option::as_deref);
    if let Some(option) = config_drive.filter(|option| !["optional", "mandatory"].contains(option)) {
        return Err(Error::invalid(format!("Image's config drive option '{option}' is invalid")));
    }
    if flavor.ram_mib < u64::from(image.min_ram) {
        return Err(Error::invalid("Flavor's memory is too small for requested image."));
    }
    if flavor.disk_gib == 0 {
        if actor.is_admin() {
            return Ok(());
        }
        return Err(Error::forbidden(ZERO_DISK));
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
        return Err(too_small(minimum, disk));
    }
    Ok(())
}

/// Whether the flavor has as much as the disks that are asked for take.
pub fn check_local_disks(disks: &LocalDisks, flavor: &ServerFlavor) -> Result<()> {
    let invalid = |details: &str| Error::invalid(format!("Block Device Mapping is Invalid: {details}"));
    let sizes = ephemeral_sizes(&disks.ephemeral, flavor.ephemeral_gib);
    if sizes.into_iter().fold(0, u64::saturating_add) > flavor.ephemeral_gib {
        return Err(Error::invalid(
            "Ephemeral disks requested are larger than the instance type allows. If no size is given in one block \
             device mapping, flavor ephemeral size will be used.",
        ));
    }
    if disks.swap.len() > 1 {
        return Err(invalid("More than one swap drive requested."));
    }
    if disks.swap.first().and_then(|disk| disk.size).is_some_and(|size| size > flavor.swap_mib) {
        return Err(Error::invalid("Swap drive requested is larger than instance type allows."));
    }
    if disks.count > LOCAL_DISKS {
        return Err(invalid("You specified more local devices than the limit allows"));
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

/// What a project, or a user within it, may have and has.
struct Budget {
    limits: Limits,
    instances: i64,
    cores: i64,
    ram_mib: i64,
}

/// All budgets that a server of this user counts in.
fn budgets(c: &Connection, project: &ProjectId, user: &UserId) -> Result<Vec<Budget>> {
    let (limits, used) = (quotas::limits(c, project)?, server_usage::of_project(c, project)?);
    let own = quotas::user_limits(c, project, user)?;
    let differs = own != limits;
    let mut budgets =
        vec![Budget { limits, instances: used.instances, cores: used.cores, ram_mib: used.ram_mib }];
    // Where the limits are the same, nobody has more than all of his project.
    if differs {
        let used = quotas::usage(c, project, Some(user))?;
        budgets.push(Budget {
            limits: own,
            instances: used.instances,
            cores: used.cores,
            ram_mib: used.ram_mib,
        });
    }
    Ok(budgets)
}

/// How many servers of this flavor the user may have more now in the project, of the counts that will do.
pub fn count_within_quota(
    c: &Connection,
    project: &ProjectId,
    user: &UserId,
    flavor: &ServerFlavor,
    wanted: RangeInclusive<u32>,
) -> Result<u32> {
    let least = *wanted.start();
    let mut most = *wanted.end();
    for budget in budgets(c, project, user)? {
        most = budget.count(flavor, least..=most)?;
    }
    Ok(most)
}

impl Budget {
    fn count(&self, flavor: &ServerFlavor, wanted: RangeInclusive<u32>) -> Result<u32> {
        let ram = i64::try_from(flavor.ram_mib).unwrap_or(i64::MAX);
        // In the order of their names, as the refusal lists them.
        let resources = [
            (Resource::Cores, i64::from(flavor.vcpus), self.cores),
            (Resource::Instances, 1, self.instances),
            (Resource::Ram, ram, self.ram_mib),
        ];
        let fits = |count: u32, (resource, each, used): (Resource, i64, i64)| {
            self.limits.allows(resource, used, each.saturating_mul(i64::from(count)))
        };
        let least = *wanted.start();
        let most = wanted.rev().find(|count| resources.iter().all(|resource| fits(*count, *resource)));
        if let Some(count) = most {
            return Ok(count);
        }
        let count = i64::from(least);
        let over = resources
            .into_iter()
            .filter(|resource| !fits(least, *resource))
            .map(|(resource, each, used)| (resource, each.saturating_mul(count), used));
        Err(quota_exceeded(&self.limits, &over.collect::<Vec<_>>()))
    }
}

/// The refusal for these resources, each with what is asked for and what is in use.
fn quota_exceeded(limits: &Limits, over: &[(Resource, i64, i64)]) -> Error {
    let list = |word: fn(&Limits, &(Resource, i64, i64)) -> String| {
        let words: Vec<String> = over.iter().map(|resource| word(limits, resource)).collect();
        words.join(", ")
    };
    let names = list(|_, (resource, _, _)| resource.name().to_owned());
    let requested = list(|_, (_, asked, _)| asked.to_string());
    let in_use = list(|_, (_, _, used)| used.to_string());
    let allowed = list(|limits, (resource, _, _)| limits.of(*resource).to_string());
    Error::quota(format!(
        "Quota exceeded for {names}: Requested {requested}, but already used {in_use} of {allowed} {names}"
    ))
}

/// Whether the server's project and its user may have what one flavor has more than the other.
pub fn check_growth(c: &Connection, server: &Server, old: &ServerFlavor, new: &ServerFlavor) -> Result<()> {
    let (was, wanted) = (Claim::of(old), Claim::of(new));
    for Budget { limits, cores, ram_mib, .. } in budgets(c, &server.project_id, &server.user_id)? {
        let over: Vec<_> = [
            (Resource::Cores, wanted.cores - was.cores, cores),
            (Resource::Ram, wanted.ram_mib.saturating_sub(was.ram_mib), ram_mib),
        ]
        .into_iter()
        .filter(|(resource, growth, used)| *growth > 0 && !limits.allows(*resource, *used, *growth))
        .collect();
        if !over.is_empty() {
            return Err(quota_exceeded(&limits, &over));
        }
    }
    Ok(())
}

/// Whether one flavor can follow the other.
pub fn check_change(old: &ServerFlavor, new: &ServerFlavor) -> Result<()> {
    if new.disk_gib == 0 && old.disk_gib != 0 {
        return Err(Error::invalid(
            "Server disk was unable to be resized because: Resize to zero disk flavor is not allowed.",
        ));
    }
    // Another flavor may have taken the place of the one that the server has.
    let sizes = |flavor: &ServerFlavor| {
        (flavor.vcpus, flavor.ram_mib, flavor.disk_gib, flavor.ephemeral_gib, flavor.swap_mib)
    };
    if new.id == old.id && sizes(new) == sizes(old) {
        return Err(Error::invalid("When resizing, instances must change flavor!"));
    }
    Ok(())
}

/// Whether the flavor is enough for what the server was made from.
pub fn check_minimums(server: &Server, new: &ServerFlavor, actor: &Actor) -> Result<()> {
    if new.ram_mib < server.min_ram_mib {
        return Err(Error::invalid("Flavor's memory is too small for requested image."));
    }
    if new.disk_gib == 0 {
        return if actor.is_admin() { Ok(()) } else { Err(Error::forbidden(ZERO_DISK)) };
    }
    if new.disk_gib < server.min_disk_gib {
        return Err(too_small(server.min_disk_gib.saturating_mul(GIB), new.disk_gib.saturating_mul(GIB)));
    }
    Ok(())
}

const ZERO_DISK: &str = "Only volume-backed servers are allowed for flavors with zero disk.";

fn too_small(minimum: u64, disk: u64) -> Error {
    Error::invalid(format!(
        "Flavor's disk is smaller than the minimum size specified in image metadata. Flavor disk is {disk} bytes, \
         minimum size is {minimum} bytes."
    ))
}
