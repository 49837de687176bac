//! Takes the files of noVNC into the program, so that the graphical console needs nothing beside it.
//!
//! They come from Debian's package `novnc`, or from the folder that `DWARFNOVA_NOVNC` names when this is built.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const FOLDER: &str = "/usr/share/novnc";
/// What a browser loads; the rest of the package is for people who build noVNC.
const PARTS: [&str; 5] = ["app", "core", "vendor", "vnc.html", "vnc_lite.html"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=DWARFNOVA_NOVNC");
    println!("cargo::rerun-if-changed=build.rs");
    let folder = PathBuf::from(env::var_os("DWARFNOVA_NOVNC").unwrap_or_else(|| FOLDER.into()));
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    for part in PARTS {
        collect(&folder, Path::new(part), &mut files).map_err(|error| {
            format!(
                "noVNC's {part} cannot be read in {}: {error}. Install the Debian package novnc \
                 (packaging/install-host-packages --build does), or set DWARFNOVA_NOVNC to a folder with noVNC 1.3 or newer.",
                folder.display()
            )
        })?;
    }
    files.sort();
    let mut table = String::from("pub static FILES: &[(&str, &[u8])] = &[\n");
    for file in files {
        let path = folder.join(&file);
        writeln!(
            table,
            "    ({:?}, include_bytes!({:?})),",
            file.display().to_string(),
            path.display().to_string()
        )?;
    }
    table.push_str("];\n");
    let target = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?).join("novnc.rs");
    fs::write(target, table)?;
    Ok(())
}

fn collect(folder: &Path, part: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let path = folder.join(part);
    if !fs::metadata(&path)?.is_dir() {
        files.push(part.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(&path)? {
        collect(folder, &part.join(entry?.file_name()), files)?;
    }
    Ok(())
}
