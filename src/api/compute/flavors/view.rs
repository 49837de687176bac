//! Flavors as JSON.

use crate::api::compute::links::{Base, Links};
use crate::api::version::shape::{Shape, Writer};
use crate::core::flavor::Flavor;
use serde::ser::{Serialize, Serializer};

/// One flavor with all its fields.
pub struct FlavorView<'a> {
    pub flavor: &'a Flavor,
    pub base: &'a Base,
    pub shape: &'static Shape,
    /// Whether the caller may read extra specs.
    pub with_specs: bool,
}

impl Serialize for FlavorView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let flavor = self.flavor;
        let mut out = Writer::new(serializer.serialize_map(None)?, self.shape);
        out.field("id", &flavor.id)?;
        out.field("name", &flavor.name)?;
        out.field("ram", &flavor.ram_mib)?;
        out.field("disk", &flavor.disk_gib)?;
        if flavor.swap_mib == 0 && !self.shape.newest("swap") {
            out.field("swap", "")?;
        } else {
            out.field("swap", &flavor.swap_mib)?;
        }
        out.field("OS-FLV-EXT-DATA:ephemeral", &flavor.ephemeral_gib)?;
        out.field("OS-FLV-DISABLED:disabled", &flavor.disabled)?;
        out.field("vcpus", &flavor.vcpus)?;
        out.field("os-flavor-access:is_public", &flavor.is_public)?;
        out.field("rxtx_factor", &flavor.rxtx_factor)?;
        out.field("links", &Links::to(self.base, "flavors", &flavor.id))?;
        out.field("description", &flavor.description)?;
        if self.with_specs {
            out.field("extra_specs", &flavor.extra_specs)?;
        }
        out.end()
    }
}

/// One flavor in the short list.
pub struct FlavorSummary<'a> {
    pub flavor: &'a Flavor,
    pub base: &'a Base,
    pub shape: &'static Shape,
}

impl Serialize for FlavorSummary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = Writer::new(serializer.serialize_map(None)?, self.shape);
        out.field("id", &self.flavor.id)?;
        out.field("name", &self.flavor.name)?;
        out.field("links", &Links::to(self.base, "flavors", &self.flavor.id))?;
        out.field("description", &self.flavor.description)?;
        out.end()
    }
}
