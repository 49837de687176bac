//! The calls into libvirt that the `virt` crate does not wrap: callbacks, statistics in bulk, descriptors.
//!
//! The only unsafe code of the project. Nothing here decides anything: it turns pointers into values.

#![expect(unsafe_code, reason = "libvirt's callbacks and records are C")]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::mem::transmute;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::Arc;
use uuid::Uuid;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::Error;
use virt::network::Network;
use virt::sys;

/// What libvirt tells without being asked, in its own terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Defined, undefined, started, suspended, resumed, stopped, shut down, crashed.
    Lifecycle(Uuid),
    Rebooted(Uuid),
    /// A job on the domain, such as the copy of a disk, came to its end.
    JobEnded(Uuid),
    /// A disk of the guest could not be read or written.
    IoError(Uuid),
    /// libvirt and QEMU no longer understand each other.
    ControlError(Uuid),
    /// The connection broke.
    Closed,
}

/// Takes notices on libvirt's event thread. Must return soon and must not call libvirt.
pub type Listener = Arc<dyn Fn(Notice) + Send + Sync>;

/// What a callback's opaque pointer points to.
struct Opaque(Listener);

/// Registers `listener` for everything in [`Notice`]. It is dropped when libvirt closes the connection.
pub fn listen(connect: &Connect, listener: &Listener) -> Result<(), Error> {
    // SAFETY: libvirt calls each callback with the arguments of the event that it was registered for. The type of
    // all is erased to one signature here, as libvirt's own macro VIR_DOMAIN_EVENT_CALLBACK does.
    unsafe {
        let lifecycle = transmute::<LifecycleCallback, GenericCallback>(on_lifecycle);
        let io_error = transmute::<IoErrorCallback, GenericCallback>(on_io_error);
        let job_ended = transmute::<JobCallback, GenericCallback>(on_job_ended);
        register(connect, sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, listener)?;
        register(connect, sys::VIR_DOMAIN_EVENT_ID_REBOOT, on_reboot, listener)?;
        register(connect, sys::VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, job_ended, listener)?;
        register(connect, sys::VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, io_error, listener)?;
        register(connect, sys::VIR_DOMAIN_EVENT_ID_CONTROL_ERROR, on_control_error, listener)?;
    }
    Ok(())
}

/// Registers `listener` for the end of the connection. Drivers inside this process have no link that could break.
pub fn listen_for_close(connect: &Connect, listener: &Listener) -> Result<(), Error> {
    let opaque = into_opaque(listener);
    // SAFETY: `opaque` stays valid until libvirt gives it to `free_opaque`, once, when the callback is removed.
    let result = unsafe {
        sys::virConnectRegisterCloseCallback(connect.as_ptr(), Some(on_close), opaque, Some(free_opaque))
    };
    if result < 0 {
        let error = Error::last_error();
        // SAFETY: after a failed registration libvirt does not keep the pointer.
        unsafe { free_opaque(opaque) };
        return Err(error);
    }
    Ok(())
}

/// A domain's state and reason in libvirt's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawState {
    pub state: u32,
    pub reason: i32,
}

/// The state of one domain. Does not talk to QEMU.
pub fn domain_state(domain: &Domain) -> Result<RawState, Error> {
    let (mut state, mut reason): (c_int, c_int) = (0, 0);
    // SAFETY: the domain is alive for the call and both results are written to live variables.
    let result = unsafe { sys::virDomainGetState(domain.as_ptr(), &raw mut state, &raw mut reason, 0) };
    if result < 0 {
        return Err(Error::last_error());
    }
    Ok(RawState { state: state.unsigned_abs(), reason })
}

/// The states of all domains in one call. Does not talk to QEMU.
pub fn all_domain_states(connect: &Connect) -> Result<Vec<(Uuid, RawState)>, Error> {
    let mut records: *mut sys::virDomainStatsRecordPtr = ptr::null_mut();
    // SAFETY: libvirt fills `records` with a list that it ends with a null pointer and that we free below.
    let count = unsafe {
        sys::virConnectGetAllDomainStats(
            connect.as_ptr(),
            sys::VIR_DOMAIN_STATS_STATE as c_uint,
            &raw mut records,
            0,
        )
    };
    let Ok(count) = usize::try_from(count) else { return Err(Error::last_error()) };
    let mut states = Vec::with_capacity(count);
    for index in 0..count {
        // SAFETY: the list has `count` records, each with a domain and `nparams` parameters.
        unsafe {
            let record = &**records.add(index);
            let (mut state, mut reason): (c_int, c_int) = (0, 0);
            for (name, value) in [(c"state.state", &raw mut state), (c"state.reason", &raw mut reason)] {
                sys::virTypedParamsGetInt(record.params, record.nparams, name.as_ptr(), value);
            }
            if let Some(uuid) = uuid_of(record.dom) {
                states.push((uuid, RawState { state: state.unsigned_abs(), reason }));
            }
        }
    }
    // SAFETY: the list came from libvirt and is not used afterwards.
    unsafe { sys::virDomainStatsRecordListFree(records) };
    Ok(states)
}

/// Sends a non-maskable interrupt to the guest.
pub fn inject_nmi(domain: &Domain) -> Result<(), Error> {
    // SAFETY: the domain is alive for the call.
    if unsafe { sys::virDomainInjectNMI(domain.as_ptr(), 0) } < 0 {
        return Err(Error::last_error());
    }
    Ok(())
}

/// One figure of a domain. Negative numbers and fractions, which no figure that we read has, are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Figure {
    Number(u64),
    Text(String),
}

/// The figures of a domain by libvirt's names for them, such as `net.0.rx.bytes`.
pub type Figures = BTreeMap<String, Figure>;

/// Figures of one domain, of the groups `VIR_DOMAIN_STATS_...`. Some groups ask QEMU, which may hang.
pub fn figures(domain: &Domain, groups: u32) -> Result<Figures, Error> {
    let mut records: *mut sys::virDomainStatsRecordPtr = ptr::null_mut();
    // SAFETY: the domain is alive, the list ends with a null pointer and outlives the call; `take` frees `records`.
    let found = unsafe {
        let mut domains = [domain.as_ptr(), ptr::null_mut()];
        let count = sys::virDomainListGetStats(domains.as_mut_ptr(), groups, &raw mut records, 0);
        take(records, count)?
    };
    Ok(found.into_iter().next().map(|(_, figures)| figures).unwrap_or_default())
}

/// Figures of all running domains. Those that another call holds show only their state.
pub fn all_figures(connect: &Connect, groups: u32) -> Result<Vec<(Uuid, Figures)>, Error> {
    let mut records: *mut sys::virDomainStatsRecordPtr = ptr::null_mut();
    let flags = sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT;
    // SAFETY: the connection is alive for the call; `records` is freed in `take`.
    unsafe {
        let count = sys::virConnectGetAllDomainStats(connect.as_ptr(), groups, &raw mut records, flags);
        take(records, count)
    }
}

/// Copies and frees a list of records.
///
/// # Safety
/// `records` must be a list of `count` records that libvirt has just given, or anything with a negative `count`.
unsafe fn take(
    records: *mut sys::virDomainStatsRecordPtr,
    count: c_int,
) -> Result<Vec<(Uuid, Figures)>, Error> {
    let Ok(count) = usize::try_from(count) else { return Err(Error::last_error()) };
    let mut found = Vec::with_capacity(count);
    for index in 0..count {
        // SAFETY: the list has `count` records, each with a domain and `nparams` parameters.
        unsafe {
            let record = &**records.add(index);
            let parameters = usize::try_from(record.nparams).unwrap_or_default();
            let figures = (0..parameters).filter_map(|number| figure(&*record.params.add(number))).collect();
            if let Some(uuid) = uuid_of(record.dom) {
                found.push((uuid, figures));
            }
        }
    }
    // SAFETY: the list came from libvirt and is not used afterwards.
    unsafe { sys::virDomainStatsRecordListFree(records) };
    Ok(found)
}

/// # Safety
/// The parameter must come from libvirt: its name ends with a zero byte, and its type tells which value is set.
unsafe fn figure(parameter: &sys::virTypedParameter) -> Option<(String, Figure)> {
    // SAFETY: as promised by the caller.
    unsafe {
        let name = text(parameter.field.as_ptr())?;
        let value = match parameter.type_.unsigned_abs() {
            sys::VIR_TYPED_PARAM_INT => Figure::Number(u64::try_from(parameter.value.i).ok()?),
            sys::VIR_TYPED_PARAM_UINT => Figure::Number(parameter.value.ui.into()),
            sys::VIR_TYPED_PARAM_LLONG => Figure::Number(u64::try_from(parameter.value.l).ok()?),
            sys::VIR_TYPED_PARAM_ULLONG => Figure::Number(parameter.value.ul),
            sys::VIR_TYPED_PARAM_STRING => Figure::Text(text(parameter.value.s)?),
            _ => return None,
        };
        Some((name, value))
    }
}

/// A socket connected to the guest's first display.
pub fn open_display(domain: &Domain) -> Result<OwnedFd, Error> {
    let number = domain.open_graphics_fd(0, 0)?;
    let number = RawFd::try_from(number).map_err(|_| Error::last_error())?;
    // SAFETY: libvirt hands over a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Begins the backup that `document` describes, into files that exist already.
pub fn begin_backup(domain: &Domain, document: &CString) -> Result<(), Error> {
    // SAFETY: the domain and the document are alive for the call; no checkpoint is asked for.
    let result = unsafe {
        sys::virDomainBackupBegin(
            domain.as_ptr(),
            document.as_ptr(),
            ptr::null(),
            sys::VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL,
        )
    };
    done(result)
}

/// Asks the domain's job to end; it may take a moment.
pub fn abort_job(domain: &Domain) -> Result<(), Error> {
    // SAFETY: the domain is alive for the call.
    done(unsafe { sys::virDomainAbortJob(domain.as_ptr()) })
}

/// How long the guest's agent may take for each answer, in seconds.
pub fn set_agent_patience(domain: &Domain, seconds: c_int) -> Result<(), Error> {
    // SAFETY: the domain is alive for the call.
    done(unsafe { sys::virDomainAgentSetResponseTimeout(domain.as_ptr(), seconds, 0) })
}

/// Freezes all file systems of the guest through its agent.
pub fn freeze(domain: &Domain) -> Result<(), Error> {
    // SAFETY: the domain is alive for the call; no list of mount points means all of them.
    done(unsafe { sys::virDomainFSFreeze(domain.as_ptr(), ptr::null_mut(), 0, 0) })
}

/// Thaws all file systems of the guest through its agent.
pub fn thaw(domain: &Domain) -> Result<(), Error> {
    // SAFETY: as for `freeze`.
    done(unsafe { sys::virDomainFSThaw(domain.as_ptr(), ptr::null_mut(), 0, 0) })
}

fn done(result: c_int) -> Result<(), Error> {
    if result < 0 { Err(Error::last_error()) } else { Ok(()) }
}

/// One DHCP lease, in libvirt's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhcpLease {
    pub mac: String,
    pub address: String,
    pub client_id: Option<String>,
}

/// The leases that the network's DHCP server has given out and that still run.
pub fn dhcp_leases(network: &Network) -> Result<Vec<DhcpLease>, Error> {
    let mut leases: *mut sys::virNetworkDHCPLeasePtr = ptr::null_mut();
    // SAFETY: libvirt fills `leases` with a list of as many leases as it returns, all of which we free below.
    let count = unsafe { sys::virNetworkGetDHCPLeases(network.as_ptr(), ptr::null(), &raw mut leases, 0) };
    let Ok(count) = usize::try_from(count) else { return Err(Error::last_error()) };
    let mut found = Vec::with_capacity(count);
    for index in 0..count {
        // SAFETY: the list has `count` leases, whose texts are null or end with a zero byte; none is used after
        // it was freed.
        unsafe {
            let lease = *leases.add(index);
            if let (Some(mac), Some(address)) = (text((*lease).mac), text((*lease).ipaddr)) {
                found.push(DhcpLease { mac, address, client_id: text((*lease).clientid) });
            }
            sys::virNetworkDHCPLeaseFree(lease);
        }
    }
    // SAFETY: libvirt made the list with malloc and leaves it to us.
    unsafe { libc::free(leases.cast()) };
    Ok(found)
}

/// # Safety
/// `pointer` must be null or point to a text that ends with a zero byte.
unsafe fn text(pointer: *const c_char) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: as promised by the caller.
    Some(unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned())
}

type GenericCallback = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void);

type LifecycleCallback =
    unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, c_int, c_int, *mut c_void) -> c_int;

type JobCallback = unsafe extern "C" fn(
    sys::virConnectPtr,
    sys::virDomainPtr,
    sys::virTypedParameterPtr,
    c_int,
    *mut c_void,
);

type IoErrorCallback = unsafe extern "C" fn(
    sys::virConnectPtr,
    sys::virDomainPtr,
    *const c_char,
    *const c_char,
    c_int,
    *const c_char,
    *mut c_void,
);

/// # Safety
/// `callback` must have the signature that libvirt uses for `event`.
unsafe fn register(
    connect: &Connect,
    event: sys::virDomainEventID,
    callback: GenericCallback,
    listener: &Listener,
) -> Result<(), Error> {
    let opaque = into_opaque(listener);
    // SAFETY: `opaque` stays valid until libvirt gives it to `free_opaque`, once, when the callback is removed.
    let result = unsafe {
        sys::virConnectDomainEventRegisterAny(
            connect.as_ptr(),
            ptr::null_mut(),
            event.cast_signed(),
            Some(callback),
            opaque,
            Some(free_opaque),
        )
    };
    if result < 0 {
        let error = Error::last_error();
        // SAFETY: after a failed registration libvirt does not keep the pointer.
        unsafe { free_opaque(opaque) };
        return Err(error);
    }
    Ok(())
}

fn into_opaque(listener: &Listener) -> *mut c_void {
    Box::into_raw(Box::new(Opaque(Arc::clone(listener)))).cast()
}

/// # Safety
/// `opaque` must come from [`into_opaque`] and must not be used again.
unsafe extern "C" fn free_opaque(opaque: *mut c_void) {
    // SAFETY: as promised by the caller.
    drop(unsafe { Box::from_raw(opaque.cast::<Opaque>()) });
}

/// # Safety
/// `opaque` must come from [`into_opaque`] and be alive.
unsafe fn tell(opaque: *mut c_void, notice: Notice) {
    // SAFETY: as promised by the caller.
    let listener = unsafe { &*opaque.cast::<Opaque>() };
    (listener.0)(notice);
}

/// # Safety
/// `domain` must be a live domain.
unsafe fn uuid_of(domain: sys::virDomainPtr) -> Option<Uuid> {
    let mut bytes = [0u8; 16];
    // SAFETY: the domain is alive, and a UUID has 16 bytes.
    let result = unsafe { sys::virDomainGetUUID(domain, bytes.as_mut_ptr()) };
    (result == 0).then(|| Uuid::from_bytes(bytes))
}

/// # Safety
/// Called by libvirt with a live domain and with the pointer from the registration.
unsafe fn tell_of(domain: sys::virDomainPtr, opaque: *mut c_void, notice: fn(Uuid) -> Notice) {
    // SAFETY: as promised by the caller.
    unsafe {
        if let Some(uuid) = uuid_of(domain) {
            tell(opaque, notice(uuid));
        }
    }
}

unsafe extern "C" fn on_lifecycle(
    _connect: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _event: c_int,
    _detail: c_int,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: libvirt passes a live domain and our pointer.
    unsafe { tell_of(domain, opaque, Notice::Lifecycle) };
    0
}

unsafe extern "C" fn on_reboot(_connect: sys::virConnectPtr, domain: sys::virDomainPtr, opaque: *mut c_void) {
    // SAFETY: libvirt passes a live domain and our pointer.
    unsafe { tell_of(domain, opaque, Notice::Rebooted) };
}

unsafe extern "C" fn on_job_ended(
    _connect: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _parameters: sys::virTypedParameterPtr,
    _count: c_int,
    opaque: *mut c_void,
) {
    // SAFETY: libvirt passes a live domain and our pointer.
    unsafe { tell_of(domain, opaque, Notice::JobEnded) };
}

unsafe extern "C" fn on_control_error(
    _connect: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    opaque: *mut c_void,
) {
    // SAFETY: libvirt passes a live domain and our pointer.
    unsafe { tell_of(domain, opaque, Notice::ControlError) };
}

unsafe extern "C" fn on_io_error(
    _connect: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _path: *const c_char,
    _alias: *const c_char,
    _action: c_int,
    _reason: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: libvirt passes a live domain and our pointer.
    unsafe { tell_of(domain, opaque, Notice::IoError) };
}

unsafe extern "C" fn on_close(_connect: sys::virConnectPtr, _reason: c_int, opaque: *mut c_void) {
    // SAFETY: libvirt passes our pointer.
    unsafe { tell(opaque, Notice::Closed) };
}
