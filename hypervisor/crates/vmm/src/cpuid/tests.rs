//! What a guest is shown of a CPU that has everything.

use super::*;

/// A CPU with everything: every bit of every leaf.
fn everything(leaf: u32, subleaf: u32) -> CpuidRegisters {
    match (leaf, subleaf) {
        (0, _) => CpuidRegisters {
            eax: 0x20,
            ebx: u32::from_le_bytes(*b"Genu"),
            edx: u32::from_le_bytes(*b"ineI"),
            ecx: u32::from_le_bytes(*b"ntel"),
        },
        (0xd, 0) => CpuidRegisters {
            eax: 0x2ff,
            ebx: 0xa88,
            ecx: 0xa88,
            edx: 0,
        },
        (0xd, 2) => CpuidRegisters {
            eax: 256,
            ebx: 576,
            ecx: 0,
            edx: 0,
        },
        (0xd, 5) => CpuidRegisters {
            eax: 64,
            ebx: 1088,
            ecx: 0,
            edx: 0,
        },
        (0xd, 6) => CpuidRegisters {
            eax: 512,
            ebx: 1152,
            ecx: 0,
            edx: 0,
        },
        (0xd, 7) => CpuidRegisters {
            eax: 1024,
            ebx: 1664,
            ecx: 0,
            edx: 0,
        },
        (0xd, 9) => CpuidRegisters {
            eax: 8,
            ebx: 2688,
            ecx: 0,
            edx: 0,
        },
        (0x8000_0000, _) => CpuidRegisters {
            eax: 0x8000_001f,
            ..Default::default()
        },
        _ => CpuidRegisters {
            eax: !0,
            ebx: !0,
            ecx: !0,
            edx: !0,
        },
    }
}

/// The first vCPU's view.
fn seen(cr4: u64, xcr0: u64) -> View {
    View {
        cr4,
        xcr0,
        apic_id: 0,
        apic_base: 0xfee0_0900,
    }
}

fn table() -> CpuidTable {
    let abilities = GuestAbilities {
        rdtscp: true,
        invpcid: true,
    };
    CpuidTable::new(&mut everything, abilities, 2_000_000_000, 1)
}

#[test]
fn what_the_platform_lacks_is_hidden() {
    let one = table().look_up(1, 0, seen(0, 1));
    for (name, bit) in [("MTRR", 12), ("MCE", 7), ("MCA", 14), ("HTT", 28)] {
        assert_eq!(one.edx & (1 << bit), 0, "{name}");
    }
    for (name, bit) in [("MONITOR", 3), ("VMX", 5), ("RDRAND", 30)] {
        assert_eq!(one.ecx & (1 << bit), 0, "{name}");
    }
    assert_ne!(one.ecx & (1 << 31), 0, "the hypervisor bit");
}

#[test]
fn the_local_apic_is_shown_with_its_id_unless_it_is_switched_off() {
    let abilities = GuestAbilities::default();
    let table = CpuidTable::new(&mut |_, _| CpuidRegisters::default(), abilities, 1, 3);
    assert_eq!(table.look_up(0xb, 1, seen(0, 1)), CpuidRegisters::default());
    let table = CpuidTable::new(&mut everything, abilities, 1, 3);
    let mut view = seen(0, 1);
    view.apic_id = 2;
    let one = table.look_up(1, 0, view);
    assert_eq!((one.ebx >> 24, one.ebx >> 16 & 0xff), (2, 3));
    assert_eq!(one.edx & (1 << 9 | 1 << 28), 1 << 9 | 1 << 28);
    assert_eq!(one.ecx & (1 << 21 | 1 << 24), 1 << 21 | 1 << 24);
    let cores = table.look_up(0xb, 1, view);
    assert_eq!(
        (cores.eax, cores.ebx, cores.ecx, cores.edx),
        (2, 3, 0x201, 2)
    );
    view.apic_base &= !(1 << 11);
    assert_eq!(table.look_up(1, 0, view).edx & (1 << 9), 0);
}

#[test]
fn osxsave_follows_cr4() {
    assert_eq!(table().look_up(1, 0, seen(0, 1)).ecx & (1 << 27), 0);
    assert_ne!(table().look_up(1, 0, seen(1 << 18, 1)).ecx & (1 << 27), 0);
}

#[test]
fn the_signature_reads_skerry_twice_and_the_next_leaf_is_the_version() {
    let leaf = table().look_up(0x4000_0000, 0, seen(0, 1));
    let text: Vec<u8> = [leaf.ebx, leaf.ecx, leaf.edx]
        .iter()
        .flat_map(|w| w.to_le_bytes())
        .collect();
    assert_eq!(text, b"SkerrySkerry");
    assert_eq!(leaf.eax, 0x4000_0010);
    assert_eq!(table().look_up(0x4000_0001, 0, seen(0, 1)).eax, 1);
}

#[test]
fn a_leaf_past_the_end_gives_the_highest_basic_leaf_on_intel() {
    let highest = table().look_up(0x16, 0, seen(0, 1));
    assert_eq!(table().look_up(0x17, 0, seen(0, 1)), highest);
    assert_eq!(table().look_up(0xc000_0000, 0, seen(0, 1)), highest);
    assert_eq!(highest.eax, 2000);
}

#[test]
fn the_state_size_follows_xcr0() {
    assert_eq!(table().look_up(0xd, 0, seen(0, 1)).ebx, 576);
    assert_eq!(table().look_up(0xd, 0, seen(0, 7)).ebx, 832);
    assert_eq!(table().look_up(0xd, 0, seen(0, 0xe7)).ebx, 2688);
    assert_eq!(table().look_up(0xd, 0, seen(0, 0x2e7)).ebx, 2696);
    assert_eq!(table().look_up(0xd, 0, seen(0, 7)).eax, 0x2e7, "no MPX");
}

#[test]
fn protection_keys_are_on_when_cr4_says_so() {
    const PKE: u64 = 1 << 22;
    let keys = |cr4| table().look_up(7, 0, seen(cr4, 1)).ecx >> 3 & 3;
    assert_eq!([keys(0), keys(PKE)], [0b01, 0b11]);
}

#[test]
fn the_counter_frequency_is_exact_in_leaf_15() {
    let leaf = table().look_up(0x15, 0, seen(0, 1));
    assert_eq!(
        u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax),
        2_000_000_000
    );
}

#[test]
fn features_the_hardware_cannot_give_a_guest_are_hidden() {
    let table = CpuidTable::new(&mut everything, GuestAbilities::default(), 1, 1);
    assert_eq!(
        table.look_up(7, 0, seen(0, 1)).ebx & (1 << 10),
        0,
        "INVPCID"
    );
    assert_eq!(
        table.look_up(0x8000_0001, 0, seen(0, 1)).edx & (1 << 27),
        0,
        "RDTSCP"
    );
}
