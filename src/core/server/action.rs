//! What can be asked of an existing server, by the names that answers and records use.

use std::fmt;

macro_rules! actions {
    ($($(#[$doc:meta])* $case:ident = $text:literal,)*) => {
        /// An operation whose admission depends on the server's state or lock.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Action {
            $($(#[$doc])* $case,)*
        }

        impl Action {
            pub const ALL: &'static [Self] = &[$(Self::$case),*];

            /// The name of the action in refusals.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$case => $text,)*
                }
            }
        }
    };
}

actions! {
    Delete = "delete",
    ForceDelete = "delete",
    SoftDelete = "delete",
    Restore = "restore",
    Start = "start",
    Stop = "stop",
    RebootSoft = "reboot",
    RebootHard = "reboot",
    Rebuild = "rebuild",
    Resize = "resize",
    Migrate = "migrate",
    ConfirmResize = "confirmResize",
    RevertResize = "revertResize",
    Pause = "pause",
    Unpause = "unpause",
    Suspend = "suspend",
    Resume = "resume",
    Rescue = "rescue",
    Unrescue = "unrescue",
    Shelve = "shelve",
    ShelveOffload = "shelveOffload",
    Unshelve = "unshelve",
    /// Unshelve with a zone or a host named.
    UnshelveTo = "unshelve",
    ChangePassword = "changePassword",
    TriggerCrashDump = "trigger_crash_dump",
    CreateImage = "createImage",
    CreateBackup = "createBackup",
    AttachVolume = "attach_volume",
    /// From microversion 2.20, shelved servers included.
    AttachVolumeShelved = "attach_volume",
    DetachVolume = "detach_volume",
    /// From microversion 2.20, shelved servers included.
    DetachVolumeShelved = "detach_volume",
    SwapVolume = "swap_volume",
    AttachInterface = "attach_interface",
    DetachInterface = "detach_interface",
    UpdateMetadata = "update metadata",
    DeleteMetadata = "delete metadata",
    UpdateTag = "update tag",
    UpdateTags = "update tags",
    DeleteTag = "delete tag",
    DeleteTags = "delete tags",
    LiveMigrate = "os-migrateLive",
    ForceComplete = "force_complete",
    AbortMigration = "abort live migration",
    Evacuate = "evacuate",
    AddFixedIp = "add_fixed_ip",
    RemoveFixedIp = "remove_fixed_ip",
    InjectNetworkInfo = "injectNetworkInfo",
    Console = "get_vnc_console",
    ConsoleOutput = "get_console_output",
    Diagnostics = "get_diagnostics",
    AddSecurityGroup = "addSecurityGroup",
    RemoveSecurityGroup = "removeSecurityGroup",
    AddFloatingIp = "addFloatingIp",
    RemoveFloatingIp = "removeFloatingIp",
    ResetState = "resetState",
    Update = "update",
    UpdateAttachment = "update_attachment",
    Lock = "lock",
    Unlock = "unlock",
    ReadPassword = "get_password",
    ClearPassword = "clear_password",
    CreateShare = "create share",
    DeleteShare = "delete share",
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
