//! libvirt's errors in the terms of the hypervisor interface.

use crate::host::hypervisor::HypervisorError;
use virt::enumutil::Enum;
use virt::error::{Error, ErrorNumber};

/// Whether the error says this.
pub fn is(error: &Error, number: ErrorNumber) -> bool {
    error.code() == Enum::Known(number)
}

/// Translates an error of the call named `call`. A broken link is told apart by the caller, who can look at it.
pub fn translate(call: &'static str, error: Error) -> HypervisorError {
    let message = error.message().to_owned();
    match error.code() {
        Enum::Known(ErrorNumber::OperationInvalid) => HypervisorError::WrongState(message),
        Enum::Known(
            ErrorNumber::ConfigUnsupported
            | ErrorNumber::NoSupport
            | ErrorNumber::OperationUnsupported
            | ErrorNumber::ArgumentUnsupported
            | ErrorNumber::AgentUnresponsive,
        ) => HypervisorError::Unsupported(message),
        Enum::Known(ErrorNumber::InvalidConn | ErrorNumber::NoConnect | ErrorNumber::Rpc) => {
            HypervisorError::Unreachable(message)
        }
        Enum::Known(_) | Enum::Unknown(_) => {
            HypervisorError::Failed { call, message, source: Some(Box::new(error)) }
        }
    }
}
