//! The fields of a VMCB, by name `[APM 2, "VMCB Layout", rev. 3.42]`.
//!
//! Owns where each field is, how wide, and which clean bit says that the CPU may use its
//! cached copy. Fields of SEV, of shadow stacks and of branch records are left out:
//! nothing here uses them, as of some others. Does not own memory: ring 0 has it, and offers [`VmcbRead`].

use skerry_words::Segment;

bitflags::bitflags! {
    /// Parts of the VMCB that have not changed since the last exit
    /// `[APM 2, "VMCB Clean Bits", rev. 3.42]`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    #[repr(transparent)]
    pub struct CleanBits: u32 {
        /// Intercepts, TSC offset, pause filter.
        const INTERCEPTS = 1 << 0;
        /// Addresses of the I/O and MSR permission maps.
        const PERMISSION_MAPS = 1 << 1;
        /// The ASID.
        const ASID = 1 << 2;
        /// The virtual interrupt.
        const VIRTUAL_INTERRUPT = 1 << 3;
        /// Nested CR3 and guest PAT.
        const NESTED_PAGING = 1 << 4;
        /// CR0, CR3, CR4, EFER.
        const CONTROL_REGISTERS = 1 << 5;
        /// DR6, DR7.
        const DEBUG_REGISTERS = 1 << 6;
        /// GDTR, IDTR.
        const TABLES = 1 << 7;
        /// CS, DS, SS, ES, CPL.
        const SEGMENTS = 1 << 8;
        /// CR2.
        const CR2 = 1 << 9;
        /// Branch records.
        const BRANCH_RECORDS = 1 << 10;
    }
}

/// The place of one VMCB field. Only the constants of this module make one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    offset: u16,
    bytes: u8,
    clean: CleanBits,
}

/// Somebody who can read the fields of a VMCB, or of one in a test.
pub trait VmcbRead {
    /// The field's value, zero-extended.
    fn read(&self, field: Field) -> u64;
}

impl Field {
    /// Where it starts, in bytes from the start of the VMCB; a multiple of its size.
    #[inline]
    #[must_use]
    pub const fn offset(self) -> u16 {
        self.offset
    }

    /// Its size: 1, 2, 4 or 8 bytes.
    #[inline]
    #[must_use]
    pub const fn bytes(self) -> u8 {
        self.bytes
    }

    /// The clean bits a change of it takes away; none if the CPU reads it on every entry.
    #[inline]
    #[must_use]
    pub const fn clean(self) -> CleanBits {
        self.clean
    }
}

/// The four fields of one segment or table register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentFields {
    /// The visible selector.
    pub selector: Field,
    /// The attributes; see [`super::segment`].
    pub attributes: Field,
    /// The limit in bytes.
    pub limit: Field,
    /// The linear base address.
    pub base: Field,
}

impl SegmentFields {
    const fn at(offset: u16, clean: CleanBits) -> Self {
        Self {
            selector: Field {
                offset,
                bytes: 2,
                clean,
            },
            attributes: Field {
                offset: offset.wrapping_add(2),
                bytes: 2,
                clean,
            },
            limit: Field {
                offset: offset.wrapping_add(4),
                bytes: 4,
                clean,
            },
            base: Field {
                offset: offset.wrapping_add(8),
                bytes: 8,
                clean,
            },
        }
    }
}

/// The global descriptor table's register; selector and attributes are not used.
pub const GDTR: SegmentFields = SegmentFields::at(0x460, CleanBits::TABLES);
/// The interrupt descriptor table's register; selector and attributes are not used.
pub const IDTR: SegmentFields = SegmentFields::at(0x480, CleanBits::TABLES);

/// The fields of a segment register. FS, GS, LDTR and TR are VMLOAD's and VMSAVE's.
#[inline]
#[must_use]
pub const fn segment(segment: Segment) -> SegmentFields {
    let (offset, clean) = match segment {
        Segment::Es => (0x400, CleanBits::SEGMENTS),
        Segment::Cs => (0x410, CleanBits::SEGMENTS),
        Segment::Ss => (0x420, CleanBits::SEGMENTS),
        Segment::Ds => (0x430, CleanBits::SEGMENTS),
        Segment::Fs => (0x440, CleanBits::empty()),
        Segment::Gs => (0x450, CleanBits::empty()),
        Segment::Ldtr => (0x470, CleanBits::empty()),
        Segment::Tr => (0x490, CleanBits::empty()),
    };
    SegmentFields::at(offset, clean)
}

macro_rules! fields {
    ($($offset:literal $bytes:literal $clean:ident $name:ident $doc:literal)*) => {
        $(
            #[doc = $doc]
            pub const $name: Field = Field {
                offset: $offset,
                bytes: $bytes,
                clean: clean::$clean,
            };
        )*
        #[cfg(test)]
        const ALL: &[(Field, &str)] = &[$(($name, stringify!($name)),)*];
    };
}

/// Short names for the table below.
mod clean {
    use super::CleanBits;
    pub(super) const NONE: CleanBits = CleanBits::empty();
    pub(super) const I: CleanBits = CleanBits::INTERCEPTS;
    pub(super) const MAPS: CleanBits = CleanBits::PERMISSION_MAPS;
    pub(super) const ASID: CleanBits = CleanBits::ASID;
    pub(super) const TPR: CleanBits = CleanBits::VIRTUAL_INTERRUPT;
    pub(super) const NP: CleanBits = CleanBits::NESTED_PAGING;
    pub(super) const CRX: CleanBits = CleanBits::CONTROL_REGISTERS;
    pub(super) const DRX: CleanBits = CleanBits::DEBUG_REGISTERS;
    pub(super) const SEG: CleanBits = CleanBits::SEGMENTS;
    pub(super) const CR2: CleanBits = CleanBits::CR2;
}

fields! {
    0x000 2 I INTERCEPT_CR_READ "Control registers whose reads exit, by bit."
    0x002 2 I INTERCEPT_CR_WRITE "Control registers whose writes exit, by bit."
    0x008 4 I INTERCEPT_EXCEPTIONS "Exceptions that exit, by vector."
    0x00c 4 I INTERCEPT_3 "See `Intercepts3`."
    0x010 4 I INTERCEPT_4 "See `Intercepts4`."
    0x03c 2 I PAUSE_THRESHOLD "Cycles between PAUSEs of one loop, at most."
    0x03e 2 I PAUSE_COUNT "PAUSEs of one loop before an exit."
    0x040 8 MAPS IOPM_BASE "Where the I/O permission map is: 3 frames."
    0x048 8 MAPS MSRPM_BASE "Where the MSR permission map is: 2 frames."
    0x050 8 I TSC_OFFSET "Added to the time-stamp counter a guest reads."
    0x058 4 ASID GUEST_ASID "The tag of the guest's TLB entries; not 0."
    0x05c 1 NONE TLB_CONTROL "What the entry drops from the TLB; see `tlb_control`."
    0x060 8 TPR VIRTUAL_INTERRUPT "The virtual interrupt; see `virtual_interrupt`."
    0x068 4 NONE INTERRUPT_STATE "Bit 0: the guest is in an interrupt shadow."
    0x070 8 NONE EXIT_CODE "Why the guest exited."
    0x078 8 NONE EXIT_INFO_1 "More about the exit."
    0x080 8 NONE EXIT_INFO_2 "Still more about the exit."
    0x088 8 NONE EXIT_INTERRUPT_INFORMATION "The event whose delivery the exit interrupted."
    0x090 8 NP NESTED_CONTROL "Bit 0: nested paging is on."
    0x0a8 8 NONE EVENT_INJECTION "The event to deliver on entry."
    0x0b0 8 NP NESTED_CR3 "Where the nested page tables start."
    0x0c0 4 NONE CLEAN_BITS "What the CPU need not read again."
    0x0c8 8 NONE NEXT_RIP "The instruction behind the one that exited (NRIP-save)."
    0x4cb 1 SEG CPL "The current privilege level."
    0x4d0 8 CRX EFER "The extended feature enable register."
    0x548 8 CRX CR4 "Control register 4."
    0x550 8 CRX CR3 "Control register 3."
    0x558 8 CRX CR0 "Control register 0."
    0x560 8 DRX DR7 "Debug register 7."
    0x568 8 DRX DR6 "Debug register 6."
    0x570 8 NONE RFLAGS "The flags."
    0x578 8 NONE RIP "The instruction pointer."
    0x5d8 8 NONE RSP "The stack pointer."
    0x5f8 8 NONE RAX "The accumulator."
    0x600 8 NONE STAR "SYSCALL segments (VMLOAD)."
    0x608 8 NONE LSTAR "SYSCALL target, 64-bit (VMLOAD)."
    0x610 8 NONE CSTAR "SYSCALL target, compatibility mode (VMLOAD)."
    0x618 8 NONE SFMASK "SYSCALL flag mask (VMLOAD)."
    0x620 8 NONE KERNEL_GS_BASE "The GS base SWAPGS brings (VMLOAD)."
    0x628 8 NONE SYSENTER_CS "SYSENTER code segment (VMLOAD)."
    0x630 8 NONE SYSENTER_ESP "SYSENTER stack pointer (VMLOAD)."
    0x638 8 NONE SYSENTER_EIP "SYSENTER instruction pointer (VMLOAD)."
    0x640 8 CR2 CR2 "Control register 2."
    0x668 8 NP GUEST_PAT "The guest's page attribute table, with nested paging."
}

/// Values of [`TLB_CONTROL`] `[APM 2, "TLB Control", rev. 3.42]`.
pub mod tlb_control {
    /// Nothing is dropped.
    pub const KEEP: u64 = 0;
    /// Everything of every ASID is dropped, the host's too.
    pub const FLUSH_ALL: u64 = 1;
    /// Everything of this ASID is dropped; needs flush-by-ASID.
    pub const FLUSH_ASID: u64 = 3;
}

/// Bits of [`VIRTUAL_INTERRUPT`] `[APM 2, "Virtual Interrupts", rev. 3.42]`.
pub mod virtual_interrupt {
    /// An interrupt is pending for the guest.
    pub const PENDING: u64 = 1 << 8;
    /// Its priority need not be above the virtual TPR's.
    pub const IGNORE_TPR: u64 = 1 << 20;
    /// The guest's RFLAGS.IF and CR8 mask virtual interrupts only; the host's RFLAGS.IF at
    /// VMRUN masks physical ones.
    pub const MASKING: u64 = 1 << 24;

    /// The vector of a pending interrupt that is to be delivered.
    #[must_use]
    pub const fn vector(vector: skerry_words::Vector) -> u64 {
        (vector.0 as u64) << 32
    }
}

/// Bit 0 of [`INTERRUPT_STATE`].
pub const INTERRUPT_SHADOW: u64 = 1;
/// Bit 0 of [`NESTED_CONTROL`].
pub const NESTED_PAGING: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_rise_and_do_not_overlap() {
        let mut end = 0;
        for (field, name) in ALL {
            assert!(field.offset.is_multiple_of(field.bytes.into()), "{name}");
            assert!(field.offset >= end, "{name}");
            end = field.offset + u16::from(field.bytes);
        }
        assert!(end <= 4096);
    }

    /// The offsets as another reader of the manual has them: Linux' `struct vmcb`.
    #[test]
    fn fields_lie_where_linux_has_them() {
        let control = [
            (INTERCEPT_3, 0x0c),
            (IOPM_BASE, 0x40),
            (TSC_OFFSET, 0x50),
            (GUEST_ASID, 0x58),
            (VIRTUAL_INTERRUPT, 0x60),
            (EXIT_CODE, 0x70),
            (EVENT_INJECTION, 0xa8),
            (NESTED_CR3, 0xb0),
            (CLEAN_BITS, 0xc0),
            (NEXT_RIP, 0xc8),
        ];
        let save = [
            (segment(Segment::Tr).selector, 0x90),
            (segment(Segment::Ldtr).base, 0x78),
            (GDTR.limit, 0x64),
            (CPL, 0xcb),
            (EFER, 0xd0),
            (CR4, 328),
            (RFLAGS, 368),
            (RSP, 472),
            (RAX, 504),
            (STAR, 512),
            (CR2, 576),
            (GUEST_PAT, 616),
        ];
        for (field, offset) in control {
            assert_eq!(field.offset(), offset, "{field:?}");
        }
        for (field, offset) in save {
            assert_eq!(field.offset(), 0x400 + offset, "{field:?}");
        }
    }

    #[test]
    fn what_the_cpu_reads_on_every_entry_has_no_clean_bit() {
        for field in [
            RIP,
            RAX,
            EVENT_INJECTION,
            TLB_CONTROL,
            segment(Segment::Fs).base,
        ] {
            assert_eq!(field.clean(), CleanBits::empty());
        }
        assert_eq!(segment(Segment::Cs).attributes.clean(), CleanBits::SEGMENTS);
        assert_eq!(CR3.clean(), CleanBits::CONTROL_REGISTERS);
    }
}
