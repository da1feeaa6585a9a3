//! What Skerry makes exit, by the manual's names `[APM 2, "VMCB Layout", rev. 3.42]`.
//!
//! Owns the names only; which ones Skerry wants is ring 0's choice.

macro_rules! intercepts {
    ($(#[$doc:meta])* $name:ident { $($bit:literal $flag:ident $text:literal)* }) => {
        bitflags::bitflags! {
            $(#[$doc])*
            #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
            #[repr(transparent)]
            pub struct $name: u32 {
                $(
                    #[doc = $text]
                    const $flag = 1 << $bit;
                )*
            }
        }
    };
}

intercepts! {
    /// The intercepts at offset 00Ch of the VMCB. Bit `n` gives exit code 60h + `n`.
    Intercepts3 {
        0 INTERRUPT "Physical interrupts."
        1 NMI "Physical NMIs."
        3 INIT "The INIT signal."
        4 VIRTUAL_INTERRUPT "The moment the virtual interrupt could be taken."
        5 CR0_SELECTIVE "Writes to CR0 that change more than TS and MP."
        15 RDPMC "RDPMC."
        18 CPUID "CPUID."
        20 IRET "IRET, before it is carried out."
        22 INVD "INVD."
        23 PAUSE "PAUSE, or a loop of it."
        24 HLT "HLT."
        26 INVLPGA "INVLPGA."
        27 IO_PROTECTION "Ports, by the I/O permission map."
        28 MSR_PROTECTION "RDMSR and WRMSR, by the MSR permission map."
        30 FERR_FREEZE "A CPU frozen by an FPU error with CR0.NE off."
        31 SHUTDOWN "Shutdown, after a triple fault."
    }
}

intercepts! {
    /// The intercepts at offset 010h of the VMCB. Bit `n` gives exit code 80h + `n`.
    Intercepts4 {
        0 VMRUN "VMRUN: must be on."
        1 VMMCALL "VMMCALL."
        2 VMLOAD "VMLOAD."
        3 VMSAVE "VMSAVE."
        4 STGI "STGI."
        5 CLGI "CLGI."
        6 SKINIT "SKINIT."
        9 WBINVD "WBINVD and WBNOINVD."
        10 MONITOR "MONITOR and MONITORX."
        11 MWAIT "MWAIT and MWAITX."
        13 XSETBV "XSETBV."
        14 RDPRU "RDPRU."
    }
}
