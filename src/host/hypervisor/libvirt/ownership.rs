//! Whose a domain is: those with the mark of this installation in their metadata are ours, all others do not exist for us.

use super::connection::Line;
use super::domain_xml::MARK_NAMESPACE;
use super::error::{is, translate};
use super::ffi::Notice;
use crate::core::ids::ServerId;
use crate::host::hypervisor::HypervisorError;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use uuid::Uuid;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::{Error, ErrorNumber};
use virt::sys;

/// How many domains a link keeps. Those of deleted servers are among them.
const MOST_KEPT: usize = 256;

/// Remembers which domains carry our mark, so that looking at a thousand domains is not a thousand questions. An
/// entry is forgotten with any news of its domain. Not used before changes: they look for themselves.
#[derive(Default)]
pub(super) struct Ownership(Mutex<HashMap<Uuid, bool>>);

impl Ownership {
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn observe(&self, notice: Notice) {
        match notice {
            Notice::Lifecycle(uuid) => {
                self.lock().remove(&uuid);
            }
            Notice::Closed => self.lock().clear(),
            Notice::Rebooted(_) | Notice::JobEnded(_) | Notice::IoError(_) | Notice::ControlError(_) => {}
        }
    }

    /// Whether a domain is ours; one that has vanished is not.
    pub(super) fn is_ours(
        &self,
        connect: &Connect,
        uuid: Uuid,
        owner: Uuid,
        call: &'static str,
    ) -> Result<bool, HypervisorError> {
        let known = self.lock().get(&uuid).copied();
        if let Some(mine) = known {
            return Ok(mine);
        }
        let Some(domain) = lookup(connect, ServerId(uuid), call)? else { return Ok(false) };
        let mine = is_ours(&domain, owner).map_err(|error| translate(call, error))?;
        self.lock().insert(uuid, mine);
        Ok(mine)
    }
}

/// The domain of a server, if there is one and it carries our mark. One that was found before on the same link is not looked
/// up again: the mark is read in any case, from the domain that has this UUID now.
pub(super) fn ours<'l>(
    line: &'l mut Line,
    id: ServerId,
    owner: Uuid,
    call: &'static str,
) -> Result<Option<&'l Domain>, HypervisorError> {
    let is_ours = |domain: &Domain| is_ours(domain, owner).map_err(|error| translate(call, error));
    let domain = match line.domains.remove(&id.0) {
        Some(known) if is_ours(&known)? => known,
        Some(_) | None => {
            let Some(found) = lookup(line, id, call)? else { return Ok(None) };
            if !is_ours(&found)? {
                tracing::warn!(server = %id, call, "a domain of this UUID is not ours and is left alone");
                return Ok(None);
            }
            found
        }
    };
    if line.domains.len() >= MOST_KEPT {
        line.domains.clear();
    }
    Ok(Some(line.domains.entry(id.0).insert_entry(domain).into_mut()))
}

pub(super) fn lookup(
    connect: &Connect,
    id: ServerId,
    call: &'static str,
) -> Result<Option<Domain>, HypervisorError> {
    match connect.lookup_domain_by_uuid(id.0) {
        Ok(domain) => Ok(Some(domain)),
        Err(error) if is(&error, ErrorNumber::NoDomain) => Ok(None),
        Err(error) => Err(translate(call, error)),
    }
}

/// Reads the mark. A domain that vanishes meanwhile is nobody's.
pub(super) fn is_ours(domain: &Domain, owner: Uuid) -> Result<bool, Error> {
    let kind = sys::VIR_DOMAIN_METADATA_ELEMENT.cast_signed();
    match domain.metadata(kind, Some(MARK_NAMESPACE), 0) {
        Ok(mark) => Ok(owner_in(&mark) == Some(owner)),
        Err(error) if is(&error, ErrorNumber::NoDomainMetadata) || is(&error, ErrorNumber::NoDomain) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

pub(super) fn owner_in(mark: &str) -> Option<Uuid> {
    let document = roxmltree::Document::parse(mark).ok()?;
    Uuid::parse_str(document.root_element().attribute("owner")?).ok()
}
