//! From paths to images: which there are, what each is given, what is refused.
//!
//! Owns the search of a folder, and the meeting of `unittests.cfg`, options and files. A file
//! that looks like an image and is none that can be started gets a line, and the others are
//! run all the same. Called by `conform`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use skerry_load::ImageKind;
use skerry_manifest::{VCPUS, VmManifest};

use super::case::{Case, LIMIT_S, MEMORY_BYTES};
use super::config::{self, Entry};
use super::suspect;

/// The group whose tests run only when they are asked for by name.
const NO_DEFAULT: &str = "nodefault";
/// The architecture of our guests.
const ARCH: &str = "x86_64";

/// What the command line says about every image.
#[derive(Clone, Debug, Default)]
pub(super) struct Choice {
    /// The arguments.
    pub(super) append: Option<String>,
    /// The CPUs.
    pub(super) vcpus: Option<u32>,
    /// The memory.
    pub(super) memory_bytes: Option<u64>,
    /// The time limit.
    pub(super) limit_s: Option<u64>,
    /// Only tests of these names.
    pub(super) only: Vec<String>,
    /// Only tests of these groups.
    pub(super) groups: Vec<String>,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Gathered {
    /// What will be run.
    pub(super) cases: Vec<Case>,
    /// What will not, by its name, and why.
    pub(super) left_out: Vec<(String, String)>,
    /// What cannot be run, a line each.
    pub(super) refused: Vec<String>,
}

/// A file's bytes and what they are, or why they cannot be started.
type Read = Result<(Arc<[u8]>, ImageKind), String>;

/// A search.
pub(super) struct Search<'a> {
    choice: &'a Choice,
    found: Gathered,
    read: BTreeMap<PathBuf, Read>,
}

impl<'a> Search<'a> {
    pub(super) fn new(choice: &'a Choice) -> Self {
        Self {
            choice,
            found: Gathered::default(),
            read: BTreeMap::new(),
        }
    }

    /// What was found. Names that two images share get their folders' in front.
    pub(super) fn finish(mut self) -> Gathered {
        let only = self.choice.only.iter();
        let unknown = only.filter(|name| !self.knows(name));
        let lines: Vec<String> = unknown
            .map(|name| format!("--only {name}: no image or test has this name"))
            .collect();
        self.found.refused.extend(lines);
        let names: Vec<String> = self.found.cases.iter().map(|c| c.name.clone()).collect();
        for case in &mut self.found.cases {
            if names.iter().filter(|name| **name == case.name).count() > 1 {
                case.name = format!("{} ({})", case.name, case.file);
            }
        }
        self.found
    }

    fn knows(&self, name: &String) -> bool {
        let left_out = self.found.left_out.iter().map(|(name, _)| name);
        let cases = self.found.cases.iter().map(|case| &case.name);
        cases.chain(left_out).any(|known| known == name)
    }

    /// Takes one path of the command line.
    pub(super) fn path(&mut self, path: &Path) {
        match fs::metadata(path) {
            Err(error) => self.refuse(path, &error.to_string()),
            Ok(meta) if meta.is_dir() => self.folder(path),
            Ok(_) => self.file(path),
        }
    }

    /// Takes a stub, which asks about a machine without test devices.
    pub(super) fn stub(&mut self, file: &str, name: &str, image: Vec<u8>) {
        let image: Arc<[u8]> = image.into();
        let before = self.found.cases.len();
        match skerry_load::sniff(&image) {
            Ok(kind) => self.plain(name.into(), file.into(), (image, kind)),
            Err(error) => self.refuse(Path::new(file), &error.to_string()),
        }
        for stub in self.found.cases.iter_mut().skip(before) {
            stub.test_devices = false;
        }
    }

    fn refuse(&mut self, path: &Path, why: &str) {
        let line = format!("{}: {why}", path.display());
        if !self.found.refused.contains(&line) {
            self.found.refused.push(line);
        }
    }

    /// A file that was named itself is run as the `unittests.cfg` beside it says, unless the
    /// command line says with which arguments.
    fn file(&mut self, path: &Path) {
        let (folder, name) = (path.parent().unwrap_or(Path::new("")), file_name(path));
        let mut entries = self.entries(folder);
        entries.retain(|entry| entry.file == name);
        if entries.is_empty() || self.choice.append.is_some() {
            return self.lone(path);
        }
        for entry in entries {
            self.entry(folder, entry);
        }
    }

    fn folder(&mut self, folder: &Path) {
        let before = self.size();
        let entries = self.entries(folder);
        let files = match sorted_files(folder) {
            Ok(files) => files,
            Err(error) => return self.refuse(folder, &error.to_string()),
        };
        let named: Vec<String> = entries.iter().map(|entry| entry.file.clone()).collect();
        for entry in entries {
            self.entry(folder, entry);
        }
        let other = |path: &&PathBuf| {
            !named.iter().any(|file| same_stem(file, path)) && !has_listed_form(path, &named)
        };
        for path in files.iter().filter(other) {
            if suspect::is_worth_reading(path) && self.may_be_image(path) {
                self.lone(path);
            }
        }
        if self.size() == before {
            self.refuse(folder, "this folder has no image");
        }
    }

    fn size(&self) -> usize {
        self.found.cases.len() + self.found.left_out.len() + self.found.refused.len()
    }

    /// Whether a file of a folder is an image, or ought to be one by its looks.
    fn may_be_image(&mut self, path: &Path) -> bool {
        let looks = suspect::looks_like_image(path);
        looks || self.read(path).is_ok()
    }

    fn entries(&mut self, folder: &Path) -> Vec<Entry> {
        let path = folder.join(config::NAME);
        let Ok(text) = fs::read_to_string(&path) else {
            return Vec::new();
        };
        let clock_s = VmManifest::DEFAULT_RTC_UNIX_SECONDS;
        let (entries, odd) = config::parse(&text, clock_s);
        for why in odd {
            self.refuse(&path, &why);
        }
        entries
    }

    /// An image without an entry runs once, with the defaults.
    fn lone(&mut self, path: &Path) {
        match self.read(path) {
            Ok(read) => self.plain(file_name(path), whole(path), read),
            Err(why) => self.refuse(path, &why),
        }
    }

    fn plain(&mut self, name: String, file: String, read: (Arc<[u8]>, ImageKind)) {
        let entry = Entry {
            name,
            ..Entry::default()
        };
        if self.is_chosen(&entry) {
            self.add(entry, file, read);
        }
    }

    fn entry(&mut self, folder: &Path, entry: Entry) {
        if !self.is_chosen(&entry) {
            return;
        }
        let path = folder.join(&entry.file);
        if let Some(why) = self.reason_to_leave_out(&entry, &path) {
            self.found.left_out.push((entry.name, why));
            return;
        }
        match self.read(&path) {
            Ok(read) => self.add(entry, whole(&path), read),
            Err(why) => self.refuse(&path, &why),
        }
    }

    fn is_chosen(&self, entry: &Entry) -> bool {
        let Choice { only, groups, .. } = self.choice;
        let all = only.is_empty() && groups.is_empty();
        all || only.contains(&entry.name) || entry.groups.iter().any(|of| groups.contains(of))
    }

    fn reason_to_leave_out(&self, entry: &Entry, path: &Path) -> Option<String> {
        let Choice { only, groups, .. } = self.choice;
        let by_default = only.is_empty() && groups.is_empty();
        match &entry.arch {
            Some(arch) if arch != ARCH => return Some(format!("{arch} only")),
            _ => {}
        }
        if by_default && entry.groups.iter().any(|group| group == NO_DEFAULT) {
            return Some("runs only when `--only` or `--group` names it".into());
        }
        (!path.is_file()).then(|| format!("there is no file {}", path.display()))
    }

    fn read(&mut self, path: &Path) -> Read {
        if let Some(read) = self.read.get(path) {
            return read.clone();
        }
        let read = read(path);
        self.read.insert(path.into(), read.clone());
        read
    }

    fn add(&mut self, entry: Entry, file: String, (image, kind): (Arc<[u8]>, ImageKind)) {
        let choice = self.choice;
        let mut wants = entry.wants;
        let mut vcpus = choice.vcpus.or(entry.vcpus).unwrap_or(*VCPUS.start());
        if !VCPUS.contains(&vcpus) {
            wants.push(format!("smp = {vcpus}"));
            vcpus = vcpus.clamp(*VCPUS.start(), *VCPUS.end());
        }
        let memory = choice.memory_bytes.or(entry.memory_bytes);
        let case = Case {
            name: entry.name,
            file,
            image,
            kind,
            arguments: choice.append.clone().unwrap_or(entry.arguments),
            vcpus,
            memory_bytes: memory.unwrap_or(MEMORY_BYTES),
            test_devices: true,
            limit_s: choice.limit_s.or(entry.limit_s).unwrap_or(LIMIT_S),
            wants,
        };
        match case.check_as(kind) {
            Ok(()) => self.found.cases.push(case),
            Err(error) => self.refuse(Path::new(&case.file), &error.to_string()),
        }
    }
}

fn read(path: &Path) -> Read {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let kind = skerry_load::sniff(&bytes).map_err(|error| error.to_string())?;
    Ok((bytes.into(), kind))
}

fn sorted_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    Ok(files)
}

/// A folder with a list of tests has the same kernel in more than one form.
fn same_stem(file: &str, path: &Path) -> bool {
    Path::new(file).file_stem() == path.file_stem()
}

/// Whether the file's kernel is beside it in the form that the list's images have.
fn has_listed_form(path: &Path, named: &[String]) -> bool {
    let mut forms = named.iter().filter_map(|file| Path::new(file).extension());
    forms.any(|form| {
        let other = path.with_extension(form);
        other != path && other.is_file()
    })
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The path from the root, for a manifest.
fn whole(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.into());
    whole.display().to_string()
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
