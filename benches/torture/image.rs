//! A file system of its own in a file: it can be cut off from its power, and it can be filled.
//!
//! Invariant: what was never synced before the cut is not there after it, as `EXT4_IOC_SHUTDOWN` without a flush of the log drops it. Needs
//! root and loop devices; whoever asks for it elsewhere is told why not.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::campaign::Fault;
use super::child::Child;

/// `EXT4_IOC_SHUTDOWN`, which takes how to go down.
const SHUTDOWN: rustix::ioctl::Opcode = 0x8004_587D;
/// Go down without writing the log out.
const WITHOUT_FLUSHING: u32 = 2;

/// A mounted image.
pub struct Image {
    file: PathBuf,
    mount: PathBuf,
}

// === impl Image ===

impl Image {
    /// Makes an ext4 image of so many bytes and mounts it.
    ///
    /// # Errors
    /// Why that cannot be done here.
    pub fn mounted(file: PathBuf, mount: PathBuf, bytes: u64) -> Result<Self, String> {
        let text = |error: std::io::Error| format!("{}: {error}", file.display());
        File::create(&file)
            .and_then(|created| created.set_len(bytes))
            .map_err(text)?;
        fs::create_dir_all(&mount).map_err(text)?;
        let image = Self { file, mount };
        run("mkfs.ext4", &["-q", "-F", "-m", "0", path(&image.file)?])?;
        image.mount()?;
        Ok(image)
    }

    fn mount(&self) -> Result<(), String> {
        run(
            "mount",
            &["-o", "loop", path(&self.file)?, path(&self.mount)?],
        )
    }

    /// Cuts the power: from now on nothing reaches the image.
    fn cut(&self) -> Result<(), String> {
        let directory = File::open(&self.mount).map_err(|error| error.to_string())?;
        // SAFETY: the call reads one u32 through the pointer that `Setter` makes from it, and writes nothing.
        let done = unsafe {
            let how = rustix::ioctl::Setter::<SHUTDOWN, u32>::new(WITHOUT_FLUSHING);
            rustix::ioctl::ioctl(&directory, how)
        };
        done.map_err(|error| format!("EXT4_IOC_SHUTDOWN: {error}"))
    }
}

impl Fault for Image {
    fn strike(&mut self, child: &mut Child) -> Result<(), String> {
        self.cut()?;
        child.kill();
        run("umount", &[path(&self.mount)?])?;
        self.mount()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // The mount is this process's own; if it is gone already, all is well.
        let _ = path(&self.mount).and_then(|mount| run("umount", &[mount]));
    }
}

fn path(path: &Path) -> Result<&str, String> {
    path.to_str()
        .ok_or_else(|| format!("{} is not text", path.display()))
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}
