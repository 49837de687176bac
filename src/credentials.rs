//! The file with the administrator's credentials: `clouds.yaml` in the state folder, which every OpenStack client reads.
//!
//! It is the only place where the password is readable, for its owner alone.

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The name of the cloud in the file.
pub const CLOUD: &str = "dwarfnova";

#[derive(Serialize, Deserialize)]
struct File {
    clouds: BTreeMap<String, Cloud>,
}

#[derive(Serialize, Deserialize)]
struct Cloud {
    auth: Auth,
    region_name: String,
    interface: String,
    identity_api_version: u8,
}

#[derive(Serialize, Deserialize)]
struct Auth {
    auth_url: String,
    username: String,
    password: String,
    project_name: String,
    user_domain_name: String,
    project_domain_name: String,
}

/// What a client needs to log in.
pub struct Credentials {
    pub auth_url: String,
    pub username: String,
    pub password: SecretString,
    pub project: String,
    pub region: String,
}

/// Where the file lies.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("clouds.yaml")
}

/// Reads the file; `None` when there is none.
///
/// # Errors
/// When it cannot be read or is not what we write.
pub fn read(state_dir: &Path) -> anyhow::Result<Option<Credentials>> {
    let path = path(state_dir);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    // The parser's own words could quote a line, and so the password.
    let mut file: File = serde_yaml_ng::from_str(&text)
        .map_err(|_| anyhow::anyhow!("{} is not a clouds.yaml as this program writes it", path.display()))?;
    let cloud =
        file.clouds.remove(CLOUD).with_context(|| format!("{} has no cloud {CLOUD}", path.display()))?;
    Ok(Some(Credentials {
        auth_url: cloud.auth.auth_url,
        username: cloud.auth.username,
        password: cloud.auth.password.into(),
        project: cloud.auth.project_name,
        region: cloud.region_name,
    }))
}

/// Writes the file, readable for its owner alone, at once or not at all.
///
/// # Errors
/// When the folder cannot be written.
pub fn write(state_dir: &Path, credentials: &Credentials) -> anyhow::Result<()> {
    let path = path(state_dir);
    let domain = "Default".to_owned();
    let cloud = Cloud {
        auth: Auth {
            auth_url: credentials.auth_url.clone(),
            username: credentials.username.clone(),
            password: credentials.password.expose_secret().to_owned(),
            project_name: credentials.project.clone(),
            user_domain_name: domain.clone(),
            project_domain_name: domain,
        },
        region_name: credentials.region.clone(),
        interface: "public".to_owned(),
        identity_api_version: 3,
    };
    let file = File { clouds: BTreeMap::from([(CLOUD.to_owned(), cloud)]) };
    let text = serde_yaml_ng::to_string(&file).context("clouds.yaml")?;
    let temporary = path.with_extension("yaml.new");
    let write = || -> std::io::Result<()> {
        let mut out = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        std::fs::rename(&temporary, &path)
    };
    write().with_context(|| path.display().to_string())
}

/// The lines that a shell takes into its environment.
pub fn exports(credentials: &Credentials) -> String {
    let pairs = [
        ("OS_AUTH_URL", credentials.auth_url.as_str()),
        ("OS_USERNAME", &credentials.username),
        ("OS_PASSWORD", credentials.password.expose_secret()),
        ("OS_PROJECT_NAME", &credentials.project),
        ("OS_USER_DOMAIN_NAME", "Default"),
        ("OS_PROJECT_DOMAIN_NAME", "Default"),
        ("OS_REGION_NAME", &credentials.region),
        ("OS_IDENTITY_API_VERSION", "3"),
        ("OS_INTERFACE", "public"),
    ];
    let line = |(name, value): (&str, &str)| format!("export {name}='{}'\n", value.replace('\'', r"'\''"));
    pairs.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn sample() -> Credentials {
        Credentials {
            auth_url: "http://127.0.0.1:8774/identity/v3".into(),
            username: "admin".into(),
            password: "it's: a #secret".to_owned().into(),
            project: "admin".into(),
            region: "RegionOne".into(),
        }
    }

    #[test]
    fn what_is_written_is_read_and_only_by_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path()).unwrap().is_none());
        write(folder.path(), &sample()).unwrap();
        let found = read(folder.path()).unwrap().unwrap();
        assert_eq!(found.password.expose_secret(), "it's: a #secret");
        assert_eq!(found.auth_url, sample().auth_url);
        let mode = std::fs::metadata(path(folder.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_file_is_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(path(folder.path()), "clouds: {dwarfnova: {auth: {password: hush}}}").unwrap();
        let Err(error) = read(folder.path()) else { panic!("it was read") };
        assert!(!format!("{error:#}").contains("hush"));
    }

    #[test]
    fn a_quote_in_a_password_survives_the_shell() {
        assert!(exports(&sample()).contains(r"export OS_PASSWORD='it'\''s: a #secret'"));
    }
}
