//! Skerry's own stubs as test kernels.
//!
//! Owns which of them are: those that ask something of any machine and end with a status.
//! What they are and ask is in `guest-stubs/README.md`.

use std::path::Path;

use anyhow::Result;

use super::gather::Search;
use crate::guests::Guests;
use crate::paths;

/// The stubs that any hypervisor or machine should pass.
const TEST_KERNELS: [&str; 13] = [
    "cpuid",
    "ept-hole",
    "ept-touch",
    "events",
    "exit-storm",
    "fpu-keep",
    "hello-port",
    "hlt-wake",
    "hostile",
    "msr-gp",
    "same-gpa",
    "string-io",
    "timer",
];

/// Whether a path is the stubs' folder, or what it is called for short.
pub(super) fn are_meant(path: &Path) -> bool {
    let folder = paths::root().join("guest-stubs");
    let same = |path: &Path| match (path.canonicalize(), folder.canonicalize()) {
        (Ok(path), Ok(folder)) => path == folder,
        _ => false,
    };
    path == Path::new("guest-stubs") || same(path)
}

/// Takes the stubs into a search.
///
/// # Errors
/// One cannot be read.
pub(super) fn add(search: &mut Search, guests: &Guests) -> Result<()> {
    for name in TEST_KERNELS {
        let file = format!("stub:{name}");
        let image = guests.bytes(&file)?;
        search.stub(&file, name, image);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bare;

    #[test]
    fn every_test_kernel_is_a_stub_that_there_is() {
        let stubs = bare::stub_names().unwrap();
        for name in TEST_KERNELS {
            assert!(stubs.iter().any(|stub| stub == name), "{name}");
        }
    }

    #[test]
    fn the_folder_is_known_by_any_of_its_names_and_others_are_not() {
        assert!(are_meant(Path::new("guest-stubs")));
        assert!(are_meant(&paths::root().join("guest-stubs/.")));
        assert!(!are_meant(&paths::root().join("guest-stubs/src")));
        assert!(!are_meant(Path::new("stubs")));
    }
}
