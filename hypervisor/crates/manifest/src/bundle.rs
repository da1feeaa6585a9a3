//! The bundle: one cpio archive with the manifest and every file it names.
//!
//! Owns reading it, from bytes that a boot loader put into memory and nobody vouches for:
//! whatever they are, the answer is a [`Bundle`] whose files are all there, or a
//! [`BundleError`]. The format is cpio "newc", so `cpio -t` lists one; its first member is
//! the manifest, as the magic `SKRY`, a little-endian `u32` version, and postcard. Components
//! are members `component/NAME`, guests' files `file/NAME`; the data of each starts on a page
//! boundary of the archive and no other file's is in its pages, so that these can be mapped
//! where one file is to be seen. Members [`FILL`] between them see to that.

use alloc::{string::String, vec::Vec};
use core::fmt;

use skerry_newc::{self as newc, Member};

use crate::{CheckError, Manifest, VmManifest};

/// The version of the manifest's encoding. Any change to the types changes it.
pub const VERSION: u32 = 4;
/// The name of the archive's first member.
pub const MANIFEST_NAME: &str = "manifest";
/// What the names of components start with.
pub const COMPONENTS: &str = "component/";
/// The name of members that only fill up pages.
pub(crate) const FILL: &str = ".fill";
/// What a file's data starts at a multiple of.
pub(crate) const PAGE_BYTES: usize = 4096;
pub(crate) const MAGIC: [u8; 4] = *b"SKRY";

/// Why bytes are no bundle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BundleError {
    /// There is no cpio archive, or its first member is not the manifest.
    NoManifest,
    /// The manifest does not start with the magic and a version.
    NoVersion,
    /// It was written by another version of Skerry.
    Version(u32),
    /// The manifest's bytes make no sense.
    Manifest(postcard::Error),
    /// The manifest holds a value that is not allowed.
    Check(CheckError),
    /// The component of this name is not in the archive, or not whole.
    NoComponent(String),
    /// The data of this member does not start on a page boundary.
    Unaligned(String),
    /// A VM names a file that is not in the archive, or not whole.
    Absent {
        /// The VM.
        vm: String,
        /// The file.
        file: String,
    },
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoManifest => write!(
                f,
                "the bundle is no cpio archive that starts with a manifest; \
                 load the file that `cargo xtask image` wrote"
            ),
            Self::NoVersion => write!(f, "the bundle's manifest has no version"),
            Self::Version(found) => write!(
                f,
                "the bundle has version {found}, this hypervisor reads version {VERSION}; \
                 build both with one `cargo xtask`"
            ),
            Self::Manifest(error) => write!(f, "the bundle's manifest is damaged: {error}"),
            Self::Check(error) => write!(f, "the bundle's manifest is refused: {error}"),
            Self::NoComponent(name) => write!(
                f,
                "the bundle has no whole component \"{name}\"; it may be truncated"
            ),
            Self::Unaligned(name) => write!(
                f,
                "the bundle's file \"{name}\" does not start on a page boundary; \
                 load the file that `cargo xtask image` wrote"
            ),
            Self::Absent { vm, file } => write!(
                f,
                "vm \"{vm}\": the bundle has no whole file \"{file}\"; it may be truncated"
            ),
        }
    }
}

/// A manifest and the files it names.
#[derive(Clone, Debug)]
pub struct Bundle<'a> {
    /// What to run.
    pub manifest: Manifest,
    members: Vec<Member<'a>>,
}

impl<'a> Bundle<'a> {
    /// Reads a bundle. Bytes after the archive's end are ignored, as boot loaders pad.
    ///
    /// # Errors
    /// Whatever keeps these bytes from being a whole bundle of this version.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BundleError> {
        let mut members = newc::members(bytes);
        let manifest = members
            .next()
            .filter(|member| member.name == MANIFEST_NAME)
            .ok_or(BundleError::NoManifest)?;
        let manifest = decode(manifest.bytes)?;
        let bundle = Self {
            manifest,
            members: members.filter(|member| member.name != FILL).collect(),
        };
        bundle.check_places()?;
        bundle.check_components()?;
        bundle
            .manifest
            .vms
            .iter()
            .try_for_each(|vm| bundle.check_files(vm))?;
        Ok(bundle)
    }

    /// The content of the file with this name.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&'a [u8]> {
        self.member(name).map(|member| member.bytes)
    }

    /// The file with this name, and where in the bundle it is: from a page boundary on.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<Member<'a>> {
        let mut members = self.members.iter();
        members.find(|member| member.name == name).copied()
    }

    /// The ELF file of the component with this name.
    #[must_use]
    pub fn component(&self, name: &str) -> Option<Member<'a>> {
        let mut members = self.members.iter();
        let found = members.find(|member| member.name.strip_prefix(COMPONENTS) == Some(name));
        found.copied()
    }

    fn check_places(&self) -> Result<(), BundleError> {
        let mut members = self.members.iter();
        match members.find(|member| !member.at.is_multiple_of(PAGE_BYTES)) {
            Some(member) => Err(BundleError::Unaligned(member.name.into())),
            None => Ok(()),
        }
    }

    fn check_components(&self) -> Result<(), BundleError> {
        let needed = self.manifest.components();
        match needed.iter().find(|name| self.component(name).is_none()) {
            Some(absent) => Err(BundleError::NoComponent(String::from(*absent))),
            None => Ok(()),
        }
    }

    fn check_files(&self, vm: &VmManifest) -> Result<(), BundleError> {
        match vm.files().find(|name| self.file(name).is_none()) {
            Some(absent) => Err(BundleError::Absent {
                vm: vm.name.clone(),
                file: absent.clone(),
            }),
            None => Ok(()),
        }
    }
}

fn decode(bytes: &[u8]) -> Result<Manifest, BundleError> {
    let rest = bytes.strip_prefix(&MAGIC).ok_or(BundleError::NoVersion)?;
    let (version, body) = rest.split_first_chunk().ok_or(BundleError::NoVersion)?;
    match u32::from_le_bytes(*version) {
        VERSION => {}
        other => return Err(BundleError::Version(other)),
    }
    let manifest: Manifest = postcard::from_bytes(body).map_err(BundleError::Manifest)?;
    manifest.check().map_err(BundleError::Check)?;
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]
    use super::*;
    use crate::{ImageKind, ModuleManifest, OnExit, PortWrite, WriteError, write, write_bundle};
    use alloc::{string::ToString, vec};
    use proptest::prelude::*;

    const COMPONENTS: [(&str, &[u8]); 4] = [
        ("prober", b"not needed"),
        ("console", b"a console"),
        ("vmm", b"a monitor"),
        ("root", b"a root"),
    ];
    const FILES: [(&str, &[u8]); 5] = [
        ("kernel-a", b"one kernel"),
        ("kernel-b", b"one kernel"),
        ("initrd", b"a disk"),
        ("module", b"a table"),
        ("unused", b"nobody names me"),
    ];

    fn manifest() -> Manifest {
        let vm = |name: &str, kernel: &str| {
            VmManifest::new(name.to_string(), 64 << 20, kernel.to_string())
        };
        let module = |file: &str| ModuleManifest {
            file: file.to_string(),
            cmdline: "text".to_string(),
        };
        let beta = VmManifest {
            initrd: Some("initrd".to_string()),
            cmdline: "console=ttyS0".to_string(),
            modules: vec![module("kernel-a"), module("module")],
            kind: ImageKind::LinuxBzImage,
            on_exit: OnExit::Restart,
            ..vm("beta", "kernel-b")
        };
        Manifest {
            power_off: vec![PortWrite {
                port: 0x8900,
                width_bytes: 1,
                value: 0x53,
            }],
            vms: vec![vm("alpha", "kernel-a"), beta],
            ..Manifest::default()
        }
    }

    fn written(manifest: &Manifest) -> Result<Vec<u8>, WriteError> {
        write_bundle(manifest, &COMPONENTS, &FILES)
    }

    /// An archive whose first member, `manifest`, holds these bytes.
    fn archive(head: &[u8]) -> Vec<u8> {
        let member = cpio::NewcBuilder::new(MANIFEST_NAME).mode(0o100_644);
        cpio::write_cpio([(member, std::io::Cursor::new(head))].into_iter(), vec![]).unwrap()
    }

    #[test]
    fn a_written_bundle_reads_back_with_its_files() {
        let bytes = written(&manifest()).unwrap();
        let bundle = Bundle::parse(&bytes).unwrap();
        let beta = &bundle.manifest.vms[1];
        assert_eq!(bundle.file(&beta.kernel), Some(&b"one kernel"[..]));
        let initrd = beta.initrd.as_deref().and_then(|name| bundle.file(name));
        assert_eq!(initrd, Some(&b"a disk"[..]));
        let modules = beta.modules.iter().map(|module| bundle.file(&module.file));
        let expected: [&[u8]; 2] = [b"one kernel", b"a table"];
        assert!(modules.eq(expected.map(Some)));
        assert_eq!(beta.cmdline, "console=ttyS0");
        assert_eq!(bundle.manifest.power_off, manifest().power_off);
    }

    #[test]
    fn components_are_found_by_name_and_on_page_boundaries() {
        let bytes = written(&manifest()).unwrap();
        let bundle = Bundle::parse(&bytes).unwrap();
        let root = bundle.component("root").unwrap();
        assert_eq!((root.bytes, root.at % 4096), (&b"a root"[..], 0));
        assert_eq!(&bytes[root.at..][..6], b"a root");
        assert_eq!(bundle.component("prober"), None);
    }

    #[test]
    fn a_component_that_is_not_there_is_refused_by_its_name() {
        let mut manifest = manifest();
        manifest.vms[0].monitor = Some("saboteur".to_string());
        let error = written(&manifest).unwrap_err().to_string();
        assert!(error.contains("component \"saboteur\""), "{error}");
        let error = write_bundle(&manifest, &COMPONENTS[2..], &FILES).unwrap_err();
        assert!(error.to_string().contains("\"console\""), "{error}");
    }

    #[test]
    fn who_runs_in_roots_place_needs_neither_console_nor_vm() {
        let manifest = Manifest {
            root: Some("prober".to_string()),
            ..Manifest::default()
        };
        let bytes = write_bundle(&manifest, &[("root", b"a prober")], &[]).unwrap();
        let bundle = Bundle::parse(&bytes).unwrap();
        assert_eq!(bundle.component("root").unwrap().bytes, b"a prober");
    }

    #[test]
    fn files_in_the_middle_of_a_page_are_refused() {
        let head = write::encode(&manifest()).unwrap();
        let members = [(MANIFEST_NAME, head.as_slice()), ("file/x", b"x")];
        let inputs = members.map(|(name, bytes)| {
            let member = cpio::NewcBuilder::new(name).mode(0o100_644);
            (member, std::io::Cursor::new(bytes))
        });
        let bytes = cpio::write_cpio(inputs.into_iter(), vec![]).unwrap();
        let refused = Bundle::parse(&bytes).unwrap_err();
        assert_eq!(refused, BundleError::Unaligned("file/x".to_string()));
    }

    #[test]
    fn one_content_is_stored_once_and_a_file_nobody_names_is_not_stored() {
        let bytes = written(&manifest()).unwrap();
        let mut names: Vec<_> = cpio_reader::iter_files(&bytes).map(|m| m.name()).collect();
        names.retain(|name| *name != FILL);
        let components = ["component/root", "component/console", "component/vmm"];
        let files = ["file/kernel-a", "file/initrd", "file/module"];
        assert_eq!(names, [&[MANIFEST_NAME], &components[..], &files].concat());
    }

    #[test]
    fn zeros_after_the_archive_do_no_harm() {
        let mut bytes = written(&manifest()).unwrap();
        bytes.extend([0; 5000]);
        assert!(Bundle::parse(&bytes).is_ok());
    }

    #[test]
    fn a_file_that_is_not_there_is_refused_by_writer_and_reader() {
        for (there, absent) in [(2, "initrd"), (3, "module")] {
            let error = write_bundle(&manifest(), &COMPONENTS, &FILES[..there]).unwrap_err();
            let WriteError::Refused(BundleError::Absent { vm, file }) = error else {
                unreachable!("{error}")
            };
            assert_eq!((vm.as_str(), file.as_str()), ("beta", absent));
        }
    }

    #[test]
    fn another_version_is_named() {
        let refused = Bundle::parse(&archive(b"SKRY\x07\0\0\0whatever")).unwrap_err();
        assert_eq!(refused, BundleError::Version(7));
        assert!(refused.to_string().contains("version 7"));
    }

    #[test]
    fn bytes_that_are_no_bundle_are_refused() {
        let refused = |bytes: &[u8]| Bundle::parse(bytes).unwrap_err();
        assert_eq!(refused(b""), BundleError::NoManifest);
        assert_eq!(refused(&[0; 4096]), BundleError::NoManifest);
        assert_eq!(refused(&archive(b"")), BundleError::NoVersion);
        let version = VERSION.to_le_bytes();
        let short = [b"SKRY", &version[..1]].concat();
        assert_eq!(refused(&archive(&short)), BundleError::NoVersion);
        let cut = refused(&archive(&[b"SKRY", &version[..], &[1]].concat()));
        assert!(matches!(cut, BundleError::Manifest(_)), "{cut}");
    }

    #[test]
    fn a_manifest_with_a_value_outside_its_range_is_refused() {
        let mut manifest = manifest();
        manifest.vms[0].memory_bytes = 12;
        let refused = written(&manifest).unwrap_err();
        assert!(
            refused.to_string().contains("vm \"alpha\": key `memory`"),
            "{refused}"
        );
    }

    proptest! {
        #[test]
        fn a_bundle_cut_before_its_trailer_is_refused(cut in any::<prop::sample::Index>()) {
            let bytes = written(&manifest()).unwrap();
            let last = b"a table";
            let end = bytes.windows(last.len()).position(|at| at == last).unwrap() + last.len();
            prop_assert!(Bundle::parse(&bytes[..cut.index(end)]).is_err());
        }

        #[test]
        fn no_damage_makes_the_reader_panic(
            at in any::<prop::sample::Index>(),
            with in prop::collection::vec(any::<u8>(), 1..16),
        ) {
            let mut bytes = written(&manifest()).unwrap();
            let start = at.index(bytes.len() - with.len());
            bytes[start..start + with.len()].copy_from_slice(&with);
            if let Ok(bundle) = Bundle::parse(&bytes) {
                prop_assert_eq!(bundle.manifest.check(), Ok(()));
            }
        }

        #[test]
        fn no_manifest_bytes_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Bundle::parse(&archive(&[&b"SKRY\x03\0\0\0"[..], &body].concat()));
        }
    }
}
