//! Each broken rule about guest state is named.

use super::*;

#[test]
fn broken_guest_registers_are_named() {
    let table = [
        (GUEST_CR0, 0x8005_0013, "guest CR0 has bits"),
        (GUEST_CR4, 0x00b0, "guest CR4 has bits"),
        (GUEST_CR4, 0x2090, "CR4.PAE is 0"),
        (GUEST_CR3, 1 << 40, "guest CR3"),
        (GUEST_DEBUGCTL, 8, "guest IA32_DEBUGCTL"),
        (GUEST_DR7, 1 << 32, "guest DR7"),
        (GUEST_SYSENTER_ESP, 1 << 48, "guest IA32_SYSENTER_ESP"),
        (GUEST_PAT, 3 << 56, "guest IA32_PAT"),
        (GUEST_EFER, 0x1d01, "guest IA32_EFER has reserved"),
        (GUEST_EFER, 0xc01, "guest IA32_EFER.LME differs"),
        (GUEST_GDTR_BASE, 1 << 47, "guest GDTR or IDTR base"),
        (GUEST_IDTR_LIMIT, 0x1_0000, "guest GDTR or IDTR limit"),
        (GUEST_RIP, 0x0001_0000_0000_0000, "guest RIP is beyond"),
        (GUEST_RFLAGS, 0x20a, "guest RFLAGS has reserved"),
        (GUEST_RFLAGS, 0x200, "guest RFLAGS bit 1"),
    ];
    for (field, value, expected) in table {
        assert_names(&long_mode().with(&[(field, value)]), expected);
    }
    let pcid = real_mode().with(&[(GUEST_CR4, 0x2_2000)]);
    assert_names(&pcid, "guest CR4.PCIDE outside");
    let paged = real_mode().with(&[(GUEST_CR0, 0x8000_0030)]);
    assert_names(&paged, "guest CR0.PG without PE");
    let high = real_mode().with(&[(GUEST_RIP, 0x1_0000_0000)]);
    assert_names(&high, "guest RIP has bits 63:32");
}

#[test]
fn a_real_mode_guest_needs_unrestricted_guest() {
    let vmcs = real_mode().with(&[(SECONDARY_CONTROLS, 0x2a)]);
    assert_names(&vmcs, "guest CR0 has bits");
}

#[test]
fn broken_segments_are_named() {
    let table = [
        (GUEST_CS_RIGHTS, 0xa098, "guest CS: type"),
        (GUEST_CS_RIGHTS, 0xa08b, "guest CS: S is 0"),
        (GUEST_CS_RIGHTS, 0xa01b, "guest CS: P is 0"),
        (GUEST_CS_RIGHTS, 0xa0fb, "guest CS: DPL"),
        (
            GUEST_CS_RIGHTS,
            0xa19b,
            "guest CS: access rights have reserved",
        ),
        (GUEST_CS_LIMIT, 0xfffe, "guest CS: G does not fit"),
        (GUEST_CS_BASE, 1 << 32, "guest CS: base has bits 63:32"),
        (GUEST_SS_RIGHTS, 0xc09b, "guest SS: type"),
        (GUEST_DS_RIGHTS, 0xc092, "guest DS: type"),
        (GUEST_ES_RIGHTS, 0xc099, "guest ES: type"),
        (GUEST_FS_BASE, 1 << 47, "guest FS: base is not canonical"),
        (
            GUEST_GS_RIGHTS,
            0x8_c093,
            "guest GS: access rights have reserved",
        ),
        (GUEST_TR_RIGHTS, 0x83, "guest TR: type"),
        (GUEST_TR_RIGHTS, 0x1_008b, "guest TR: is unusable"),
        (GUEST_TR_RIGHTS, 0x0b, "guest TR: P is 0"),
        (GUEST_TR_SELECTOR, 0x44, "guest TR: TI"),
        (GUEST_TR_LIMIT, 0x10_0000, "guest TR: G does not fit"),
        (GUEST_LDTR_RIGHTS, 0x8b, "guest LDTR: type"),
        (GUEST_LDTR_RIGHTS, 0x92, "guest LDTR: S is 1"),
    ];
    for (field, value, expected) in table {
        assert_names(&long_mode().with(&[(field, value)]), expected);
    }
}

#[test]
fn an_unusable_data_segment_may_hold_anything_but_a_high_base() {
    let unusable = [
        (GUEST_DS_RIGHTS, 0x1_0000),
        (GUEST_DS_LIMIT, 0x1234_5678),
        (GUEST_LDTR_BASE, 1 << 47),
    ];
    assert!(long_mode().with(&unusable).failures().is_empty());
    let high = long_mode()
        .with(&unusable)
        .with(&[(GUEST_GS_BASE, 1 << 50)]);
    assert_names(&high, "guest GS: base is not canonical");
}

#[test]
fn privilege_levels_must_agree_without_unrestricted_guest() {
    let restricted = long_mode().with(&[(SECONDARY_CONTROLS, 0x2a)]);
    assert!(restricted.failures().is_empty());
    let table = [
        (GUEST_SS_SELECTOR, 0x1b, "guest SS: RPL differs"),
        (GUEST_DS_SELECTOR, 0x1b, "guest DS: DPL is below RPL"),
    ];
    for (field, value, expected) in table {
        let failures = restricted.clone().with(&[(field, value)]).failures();
        assert!(
            failures.iter().any(|f| f.contains(expected)),
            "{failures:#?}"
        );
    }
    assert!(
        long_mode()
            .with(&[(GUEST_DS_SELECTOR, 0x1b)])
            .failures()
            .is_empty()
    );
}

#[test]
fn in_real_mode_the_stack_is_of_ring_0() {
    let vmcs = real_mode().with(&[(GUEST_SS_RIGHTS, 0xf3), (GUEST_CS_RIGHTS, 0xfb)]);
    assert_names(&vmcs, "guest SS: DPL is not 0 in real mode");
}

#[test]
fn broken_virtual_8086_segments_are_named() {
    let table = [
        (
            GUEST_DS_BASE,
            0x3_0001,
            "guest DS: base is not the selector",
        ),
        (GUEST_SS_LIMIT, 0xffff_ffff, "guest SS: limit is not 0xffff"),
        (
            GUEST_CS_RIGHTS,
            0x9b,
            "guest CS: access rights are not 0xf3",
        ),
    ];
    for (field, value, expected) in table {
        assert_names(&virtual_8086().with(&[(field, value)]), expected);
    }
    let failures = virtual_8086().with(&[(ENTRY_CONTROLS, 0xd3ff)]).failures();
    assert!(
        failures.iter().any(|f| f.contains("RFLAGS.VM in IA-32e")),
        "{failures:#?}"
    );
}

#[test]
fn broken_non_register_state_is_named() {
    let interrupt = (ENTRY_INTERRUPTION_INFORMATION, 0x8000_0020);
    let nmi = (ENTRY_INTERRUPTION_INFORMATION, 0x8000_0202);
    let page_fault = (ENTRY_INTERRUPTION_INFORMATION, 0x8000_0b0e);
    let table: &[(&[(Field, u64)], &str)] = &[
        (&[(GUEST_ACTIVITY, 4)], "activity state is reserved"),
        (
            &[(GUEST_ACTIVITY, 1), (GUEST_INTERRUPTIBILITY, 1)],
            "is not active though STI",
        ),
        (
            &[(GUEST_ACTIVITY, 1), page_fault],
            "does not let the injected event in",
        ),
        (
            &[(GUEST_ACTIVITY, 2), interrupt],
            "does not let the injected event in",
        ),
        (
            &[(GUEST_ACTIVITY, 3), nmi],
            "does not let the injected event in",
        ),
        (
            &[(GUEST_INTERRUPTIBILITY, 0x20)],
            "interruptibility state has reserved",
        ),
        (
            &[(GUEST_INTERRUPTIBILITY, 3)],
            "blocking by STI and by MOV SS",
        ),
        (
            &[(GUEST_INTERRUPTIBILITY, 1), (GUEST_RFLAGS, 2)],
            "though RFLAGS.IF is 0",
        ),
        (
            &[(GUEST_INTERRUPTIBILITY, 2), interrupt],
            "an interrupt is injected though",
        ),
        (
            &[(GUEST_INTERRUPTIBILITY, 2), nmi],
            "an NMI is injected though STI",
        ),
        (
            &[(GUEST_INTERRUPTIBILITY, 8), nmi],
            "though NMIs are blocked",
        ),
        (&[(GUEST_INTERRUPTIBILITY, 4)], "blocking by SMI"),
        (&[(GUEST_INTERRUPTIBILITY, 0x12)], "enclave interruption"),
        (
            &[(GUEST_RFLAGS, 2), interrupt],
            "IF is 0 though an interrupt is injected",
        ),
        (
            &[(GUEST_PENDING_DEBUG, 1 << 17)],
            "pending debug exceptions have reserved",
        ),
        (
            &[(GUEST_INTERRUPTIBILITY, 1), (GUEST_RFLAGS, 0x302)],
            "BS does not fit",
        ),
        (&[(VMCS_LINK_POINTER, 0x1001)], "link pointer"),
    ];
    for (changes, expected) in table {
        assert_names(&long_mode().with(changes), expected);
    }
    let deep = long_mode().with(&[(GUEST_ACTIVITY, 1), (GUEST_SS_RIGHTS, 0xc0f3)]);
    assert!(
        deep.failures()
            .iter()
            .any(|f| f.contains("HLT though the DPL of SS"))
    );
}

#[test]
fn halted_guests_take_interrupts_debug_exceptions_and_machine_checks() {
    for word in [0x8000_0020, 0x8000_0202, 0x8000_0301, 0x8000_0312] {
        let vmcs = long_mode().with(&[(GUEST_ACTIVITY, 1), (ENTRY_INTERRUPTION_INFORMATION, word)]);
        assert!(vmcs.failures().is_empty(), "{word:#x}");
    }
}

#[test]
fn only_present_pdptes_of_pae_guests_are_checked() {
    assert_names(&pae().with(&[(GUEST_PDPTE3, 0x2003)]), "PDPTE has reserved");
    assert_names(
        &pae().with(&[(GUEST_PDPTE2, 1 << 40 | 1)]),
        "PDPTE has reserved",
    );
    assert!(
        long_mode()
            .with(&[(GUEST_PDPTE3, 0x2003)])
            .failures()
            .is_empty()
    );
}
