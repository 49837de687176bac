//! Servers as JSON, written straight from the rows through the shape of the version.

use crate::api::compute::changes::Resource;
use crate::api::compute::links::{Base, Links};
use crate::api::version::shape::{Shape, Writer};
use crate::core::clock::{micros_naive, seconds_z};
use crate::core::port::ServerNic;
use crate::core::server::state::VmState;
use crate::core::server::status::{Status, status};
use crate::core::server::{Fault, Server, ServerDetail, ServerFlavor, host_id};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::value::RawValue;
use std::fmt::Display;
use std::net::Ipv4Addr;

/// What a view depends on besides the server: the request and the caller.
pub struct Scene {
    pub base: Base,
    /// Which answer this is: they differ in a few keys at every version.
    pub resource: Resource,
    pub shape: &'static Shape,
    /// Whether the caller is an administrator, who sees more.
    pub admin: bool,
    /// Whether the caller may read the extra specs of flavors.
    pub reads_specs: bool,
}

/// The full view of a server.
pub struct ServerView<'a> {
    pub detail: &'a ServerDetail,
    pub scene: &'a Scene,
    /// Told once, in the answer to a rebuild.
    pub admin_password: Option<&'a str>,
}

impl Serialize for ServerView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (scene, server) = (self.scene, &self.detail.server);
        let status = status(server);
        let mut out = Writer::new(serializer.serialize_map(None)?, scene.shape);
        out.field("id", &server.id)?;
        out.field("name", &server.name)?;
        out.field("status", status.as_str())?;
        out.field("tenant_id", &server.project_id)?;
        out.field("user_id", &server.user_id)?;
        out.field("metadata", &server.metadata)?;
        out.field("hostId", &host_id(&server.project_id, server.host.as_deref()))?;
        out.field("image", &ImageView { server, scene })?;
        out.field("flavor", &FlavorView { flavor: server.shown_flavor(), scene })?;
        out.field("created", &seconds_z(server.created_at))?;
        out.field("updated", &seconds_z(server.updated_at))?;
        out.field("addresses", &Addresses { detail: self.detail, extended: scene.shape })?;
        out.field("accessIPv4", &Maybe(server.access_ip_v4.as_ref()))?;
        out.field("accessIPv6", &Maybe(server.access_ip_v6.as_ref()))?;
        out.field("links", &Links::to(&scene.base, "servers", &server.id))?;
        out.field("OS-DCF:diskConfig", server.disk_config.as_str())?;
        if status.shows_progress() {
            out.field("progress", &server.progress)?;
        }
        self.fault(&mut out, status)?;
        self.extended(&mut out)?;
        self.attributes(&mut out)?;
        self.later(&mut out)?;
        out.optional("adminPass", self.admin_password.as_ref())?;
        out.end()
    }
}

impl ServerView<'_> {
    fn fault<M: SerializeMap>(&self, out: &mut Writer<'_, M>, status: Status) -> Result<(), M::Error> {
        let Some(fault) = self.detail.fault.as_ref().filter(|_| status.shows_fault()) else { return Ok(()) };
        out.field("fault", &FaultView { fault, admin: self.scene.admin })
    }

    /// What everybody sees, and changed servers only from 2.75 on.
    fn extended<M: SerializeMap>(&self, out: &mut Writer<'_, M>) -> Result<(), M::Error> {
        let server = &self.detail.server;
        let zone = match &server.host {
            Some(_) => self.detail.standing.zone.as_str(),
            None => server.pinned_zone.as_deref().unwrap_or_default(),
        };
        out.field("OS-EXT-AZ:availability_zone", zone)?;
        out.field("config_drive", if server.config_drive { "True" } else { "" })?;
        out.field("key_name", &server.key.as_ref().map(|key| key.name.as_str()))?;
        out.field("OS-SRV-USG:launched_at", &server.launched_at.map(micros_naive))?;
        out.field("OS-SRV-USG:terminated_at", &server.terminated_at.map(micros_naive))?;
        if !self.detail.security_groups.is_empty() {
            out.field("security_groups", &GroupNames(&self.detail.security_groups))?;
        }
        out.field("OS-EXT-STS:vm_state", server.vm_state.as_str())?;
        out.field(
            "OS-EXT-STS:task_state",
            &server.task_state.map(crate::core::server::state::TaskState::as_str),
        )?;
        out.field("OS-EXT-STS:power_state", &server.power_state.number())?;
        out.field("os-extended-volumes:volumes_attached", &Volumes(self))
    }

    /// What administrators see of where and how the server was made; its host name everybody, from 2.90 on.
    fn attributes<M: SerializeMap>(&self, out: &mut Writer<'_, M>) -> Result<(), M::Error> {
        const HOSTNAME: &str = "OS-EXT-SRV-ATTR:hostname";
        let server = &self.detail.server;
        if self.scene.admin || self.scene.shape.newest(HOSTNAME) {
            out.field(HOSTNAME, &server.hostname)?;
        }
        if !self.scene.admin {
            return Ok(());
        }
        out.field("OS-EXT-SRV-ATTR:host", &server.host)?;
        out.field("OS-EXT-SRV-ATTR:hypervisor_hostname", &server.host)?;
        out.field("OS-EXT-SRV-ATTR:instance_name", &server.instance_name())?;
        out.field("OS-EXT-SRV-ATTR:kernel_id", &server.kernel_id)?;
        out.field("OS-EXT-SRV-ATTR:ramdisk_id", &server.ramdisk_id)?;
        out.field("OS-EXT-SRV-ATTR:launch_index", &server.launch_index)?;
        out.field("OS-EXT-SRV-ATTR:reservation_id", &server.reservation_id)?;
        out.field("OS-EXT-SRV-ATTR:root_device_name", &server.root_device_name)?;
        if self.scene.resource != Resource::ServerRebuild {
            out.field("OS-EXT-SRV-ATTR:user_data", &server.user_data)?;
        }
        out.field("host_status", if server.host.is_some() { self.detail.standing.host_status() } else { "" })
    }

    /// What came with later versions.
    fn later<M: SerializeMap>(&self, out: &mut Writer<'_, M>) -> Result<(), M::Error> {
        let server = &self.detail.server;
        out.field("locked", &server.lock.is_some())?;
        out.field("description", &server.description)?;
        out.field("tags", &server.tags)?;
        if self.scene.resource == Resource::ServerRebuild {
            out.field("user_data", &server.user_data)?;
        }
        out.field("trusted_image_certificates", &server.trusted_certificates)?;
        if self.scene.resource != Resource::ServerDetail {
            out.field("server_groups", self.detail.server_group.as_slice())?;
        }
        out.field("locked_reason", &server.lock.as_ref().and_then(|lock| lock.reason.as_deref()))?;
        out.field("pinned_availability_zone", &server.pinned_zone)?;
        let hints: Option<&RawValue> = serde_json::from_str(&server.scheduler_hints).ok();
        out.field("scheduler_hints", &hints)
    }
}

/// Text, or an empty text where there is nothing.
struct Maybe<'a, T: Display>(Option<&'a T>);

impl<T: Display> Serialize for Maybe<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_str(""),
        }
    }
}

struct ImageView<'a> {
    server: &'a Server,
    scene: &'a Scene,
}

impl Serialize for ImageView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(id) = &self.server.image_id else { return serializer.serialize_str("") };
        let mut out = Writer::new(serializer.serialize_map(None)?, self.scene.shape);
        out.field("id", id)?;
        out.field("links", &Links::bookmark(&self.scene.base, "images", id))?;
        out.field("properties", &self.server.image_properties)?;
        out.end()
    }
}

struct FlavorView<'a> {
    flavor: &'a ServerFlavor,
    scene: &'a Scene,
}

impl Serialize for FlavorView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let flavor = self.flavor;
        let mut map = serializer.serialize_map(None)?;
        if !self.scene.shape.newest("flavor") {
            map.serialize_entry("id", &flavor.id)?;
            map.serialize_entry("links", &Links::bookmark(&self.scene.base, "flavors", &flavor.id))?;
            return map.end();
        }
        map.serialize_entry("vcpus", &flavor.vcpus)?;
        map.serialize_entry("ram", &flavor.ram_mib)?;
        map.serialize_entry("disk", &flavor.disk_gib)?;
        map.serialize_entry("ephemeral", &flavor.ephemeral_gib)?;
        map.serialize_entry("swap", &flavor.swap_mib)?;
        map.serialize_entry("original_name", &flavor.name)?;
        if self.scene.reads_specs {
            map.serialize_entry("extra_specs", &flavor.extra_specs)?;
        }
        map.end()
    }
}

struct FaultView<'a> {
    fault: &'a Fault,
    admin: bool,
}

impl Serialize for FaultView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("code", &self.fault.code)?;
        map.serialize_entry("created", &seconds_z(self.fault.created_at))?;
        map.serialize_entry("message", &self.fault.message)?;
        // What went wrong inside is for administrators; a code of its own means that it was the owner's doing.
        if !self.fault.details.is_empty() && (self.admin || self.fault.code != 500) {
            map.serialize_entry("details", &self.fault.details)?;
        }
        map.end()
    }
}

struct GroupNames<'a>(&'a [String]);

impl Serialize for GroupNames<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Name<'a> {
            name: &'a str,
        }
        serializer.collect_seq(self.0.iter().map(|name| Name { name }))
    }
}

struct Volumes<'a, 'b>(&'a ServerView<'b>);

impl Serialize for Volumes<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct One<'a>(&'a crate::core::server::AttachedVolume, &'static Shape);
        impl Serialize for One<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut out = Writer::new(serializer.serialize_map(None)?, self.1);
                out.field("id", &self.0.volume_id)?;
                out.field("delete_on_termination", &self.0.delete_on_termination)?;
                out.end()
            }
        }
        let shape = self.0.scene.shape;
        serializer.collect_seq(self.0.detail.volumes.iter().map(|volume| One(volume, shape)))
    }
}

/// Network names, each with the addresses of the server's NICs in it. Nothing while the server is being built.
struct Addresses<'a> {
    detail: &'a ServerDetail,
    /// The shape that says whether the extension keys are shown.
    extended: &'static Shape,
}

impl Serialize for Addresses<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.detail.server.vm_state != VmState::Building {
            let nics = &self.detail.nics;
            for (index, nic) in nics.iter().enumerate() {
                let label = nic.network_name.as_str();
                if nics[..index].iter().any(|earlier| earlier.network_name == label) {
                    continue;
                }
                map.serialize_entry(label, &OnNetwork { nics, label, shape: Some(self.extended) })?;
            }
        }
        map.end()
    }
}

/// The addresses of a server on one network.
pub struct OnNetwork<'a> {
    pub nics: &'a [ServerNic],
    pub label: &'a str,
    /// Says whether the extension keys are shown; never, without one.
    pub shape: Option<&'static Shape>,
}

impl Serialize for OnNetwork<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for nic in self.nics.iter().filter(|nic| nic.network_name == self.label) {
            for found in &nic.addresses {
                list.serialize_element(&Address { nic, address: &found.address, shape: self.shape })?;
            }
        }
        list.end()
    }
}

struct Address<'a> {
    nic: &'a ServerNic,
    address: &'a Ipv4Addr,
    shape: Option<&'static Shape>,
}

impl Serialize for Address<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("version", &4)?;
        map.serialize_entry("addr", self.address)?;
        if let Some(shape) = self.shape {
            let mut out = Writer::new(map, shape);
            out.field("OS-EXT-IPS:type", "fixed")?;
            out.field("OS-EXT-IPS-MAC:mac_addr", &Maybe(Some(&self.nic.mac)))?;
            return out.end();
        }
        map.end()
    }
}
