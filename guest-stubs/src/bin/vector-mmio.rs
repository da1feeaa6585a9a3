//! Do moves of MMX and vector registers work on device memory as they do on memory?
//!
//! The device is 64 KiB that keep what is stored there, at `device=N`. Each instruction is
//! executed on memory and on the device, with the same bytes and registers around it; then all
//! bytes and all registers are compared.
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest_stubs::memory::{self, SCRATCH};
use guest_stubs::{Boot, Report, cpu, instruction, println, stub};

stub!("vector moves work on device memory as on memory", run);

/// The memory of the device for test kernels.
const DEVICE: u64 = 0xff00_0000;
/// The registers before; XSAVE's standard format `[SDM 1, "XSAVE Area", ed. 085]`.
const BEFORE: u64 = SCRATCH;
/// The registers after the instruction on the device.
const AFTER: u64 = SCRATCH + 0x1000;
/// The registers after the instruction on memory.
const WANTED: u64 = SCRATCH + 0x2000;
/// Two pages to hold against the device's first two.
const MEMORY: u64 = SCRATCH + 0x4000;
const XSTATE_BV: u64 = 512;
const AVX: u64 = 4;
/// The bytes around the operand that are looked at.
const AROUND: u64 = 64;
/// Places of the operand from the device's start on, all the same for moves that want alignment.
const ALIGNED: [u64; 2] = [0x40, 0xfe0];
const ANY: [u64; 5] = [0x40, 0x47, 0xff1, 0xfea, 0x1001];

fn run(report: &mut Report, boot: &Boot) {
    let device = boot.number("device", DEVICE);
    memory::write64(device, 0x1122_3344_5566_7788);
    if memory::read64(device) != 0x1122_3344_5566_7788 {
        if boot.has("required") {
            report.check("there is memory that a device keeps", false);
        } else {
            report.skip("there is no memory that a device keeps");
        }
        return;
    }
    let bench = Bench {
        device,
        mask: enable(),
    };
    println!("state components {:#x}", bench.mask);
    build(bench.mask);
    check_legacy(report, &bench);
    check_mmx(report, &bench);
    if bench.mask & AVX == 0 {
        report.skip("this CPU has no AVX");
        return;
    }
    check_vex(report, &bench);
}

/// Turns SSE on, and AVX where it is: gives the state components to save, 0 without XSAVE.
fn enable() -> u64 {
    const OSFXSR: u64 = 1 << 9;
    const OSXSAVE: u64 = 1 << 18;
    cpu::set_cr4(cpu::cr4() | OSFXSR);
    if cpu::cpuid(1, 0).ecx & (1 << 26) == 0 {
        return 0;
    }
    cpu::set_cr4(cpu::cr4() | OSXSAVE);
    let mask = 3 | cpu::cpuid(13, 0).eax & AVX as u32;
    instruction!("xsetbv", in("ecx") 0, in("eax") mask, in("edx") 0, options(nostack));
    mask.into()
}

/// A number that depends on its place.
fn pattern(place: u64) -> u64 {
    (place + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The registers' places in the area: x87, XMM, YMM.
fn register_places(mask: u64) -> impl Iterator<Item = u64> {
    let avx = if mask & AVX != 0 { 576..832 } else { 0..0 };
    (32..416).chain(avx).step_by(8)
}

/// Registers of all different bytes; the x87 stack has its top in the middle, and two registers
/// that are empty.
fn build(mask: u64) {
    const FCW: u32 = 0x37f;
    const TOP_5: u32 = 5 << 11;
    memory::fill(BEFORE..BEFORE + 4096, 0);
    register_places(mask).for_each(|place| memory::write64(BEFORE + place, pattern(place)));
    for register in 0..8 {
        memory::write64(BEFORE + 40 + 16 * register, 0x4000);
    }
    memory::write32(BEFORE, FCW | TOP_5 << 16);
    memory::write32(BEFORE + 4, 0b1101_1110);
    memory::write32(BEFORE + 24, 0x1f80);
    memory::write64(BEFORE + XSTATE_BV, mask);
}

fn load(mask: u64) {
    if mask == 0 {
        instruction!("fxrstor64 [{}]", in(reg) BEFORE, options(nostack));
    } else {
        instruction!("xrstor64 [{}]", in(reg) BEFORE, in("eax") mask as u32, in("edx") 0);
    }
}

fn save(at: u64, mask: u64) {
    memory::fill(at..at + 4096, 0);
    if mask == 0 {
        instruction!("fxsave64 [{}]", in(reg) at, options(nostack));
    } else {
        instruction!("xsave64 [{}]", in(reg) at, in("eax") mask as u32, in("edx") 0);
    }
}

struct Bench {
    device: u64,
    mask: u64,
}

impl Bench {
    /// Executes a move on the operand at `at`, and saves the registers at `area`.
    fn execute(&self, at: u64, area: u64, act: impl Fn(u64)) {
        // Bytes: the operand may begin anywhere.
        for byte in 0..AROUND {
            memory::write8(at - 16 + byte, pattern(byte) as u8);
        }
        load(self.mask);
        act(at);
        save(area, self.mask);
    }

    /// The first difference between device and memory, in words.
    fn difference(&self, places: &[u64], act: impl Fn(u64)) -> Option<(u64, &'static str, u64)> {
        places.iter().find_map(|place| {
            self.execute(MEMORY + place, WANTED, &act);
            self.execute(self.device + place, AFTER, &act);
            let byte = (place - 16..place - 16 + AROUND)
                .find(|byte| memory::read8(MEMORY + byte) != memory::read8(self.device + byte));
            let of_memory = byte.map(|byte| (*place, "memory", byte));
            of_memory.or_else(|| Some((*place, "registers", self.first_register()?)))
        })
    }

    /// The first place in the area where registers differ: controls, tags, and all the rest.
    fn first_register(&self) -> Option<u64> {
        let mut places = [0, 24].into_iter().chain(register_places(self.mask));
        places.find(|place| memory::read64(AFTER + place) != memory::read64(WANTED + place))
    }
}

/// Holds instructions on the device against the same ones on memory; RAX is not theirs.
macro_rules! as_on_memory {
    ($report:expr, $bench:expr, $places:expr, $($text:literal)*) => {$({
        let act = |at: u64| instruction!($text, in("rdi") at, options(nostack));
        let first = $bench.difference(&$places, act);
        if let Some((place, what, offset)) = first {
            println!("{}: with the operand at {place:#x}, {what} differ at {offset:#x}", $text);
        }
        $report.check_of($text, "as on memory", first.is_none());
    })*};
}

fn check_legacy(report: &mut Report, bench: &Bench) {
    as_on_memory!(
        report, bench, ANY,
        "movdqu xmm1, [rdi]" "movdqu [rdi], xmm9" "movups xmm10, [rdi]" "movups [rdi], xmm2"
        "movupd xmm3, [rdi]" "movupd [rdi], xmm3" "lddqu xmm4, [rdi]"
        "movd xmm1, dword ptr [rdi]" "movd dword ptr [rdi], xmm2" "movq xmm3, qword ptr [rdi]"
        "movq qword ptr [rdi], xmm4" "movss xmm5, [rdi]" "movss [rdi], xmm6"
        "movsd xmm7, [rdi]" "movsd [rdi], xmm8" "movlps xmm9, [rdi]" "movlps [rdi], xmm10"
        "movhps xmm11, [rdi]" "movhps [rdi], xmm12" "movlpd xmm13, [rdi]" "movlpd [rdi], xmm14"
        "movhpd xmm15, [rdi]" "movhpd [rdi], xmm0" ".byte 0x66, 0x48, 0x0f, 0x6e, 0x0f # movq xmm1, [rdi]"
        ".byte 0x66, 0x48, 0x0f, 0x7e, 0x0f # movq [rdi], xmm1"
    );
    as_on_memory!(
        report, bench, ALIGNED,
        "movdqa xmm1, [rdi]" "movdqa [rdi], xmm9" "movaps xmm10, [rdi]" "movaps [rdi], xmm2"
        "movapd xmm3, [rdi]" "movapd [rdi], xmm11" "movntdq [rdi], xmm4" "movntps [rdi], xmm5"
        "movntpd [rdi], xmm6" "movntdqa xmm12, [rdi]"
    );
}

fn check_mmx(report: &mut Report, bench: &Bench) {
    as_on_memory!(
        report, bench, ANY,
        "movd mm1, dword ptr [rdi]" "movd dword ptr [rdi], mm2" "movq mm3, qword ptr [rdi]"
        "movq qword ptr [rdi], mm4" "movntq [rdi], mm5" ".byte 0x48, 0x0f, 0x6e, 0x37 # movq mm6, [rdi]"
        ".byte 0x48, 0x0f, 0x7e, 0x3f # movq [rdi], mm7"
    );
}

fn check_vex(report: &mut Report, bench: &Bench) {
    as_on_memory!(
        report, bench, ANY,
        "vmovdqu xmm1, [rdi]" "vmovdqu [rdi], xmm9" "vmovdqu ymm10, [rdi]" "vmovdqu [rdi], ymm2"
        "vmovups ymm3, [rdi]" "vmovupd [rdi], ymm13" "vlddqu ymm4, [rdi]"
        "vmovd xmm1, dword ptr [rdi]" "vmovd dword ptr [rdi], xmm2" "vmovq xmm3, qword ptr [rdi]"
        "vmovq qword ptr [rdi], xmm4" "vmovss xmm5, dword ptr [rdi]" "vmovss dword ptr [rdi], xmm6"
        "vmovsd xmm7, qword ptr [rdi]" "vmovsd qword ptr [rdi], xmm8" "vmovlps xmm9, xmm3, [rdi]"
        "vmovlps [rdi], xmm10" "vmovhps xmm11, xmm12, [rdi]" "vmovhpd [rdi], xmm12"
    );
    as_on_memory!(
        report, bench, ALIGNED,
        "vmovdqa ymm1, [rdi]" "vmovdqa [rdi], ymm9" "vmovaps ymm10, [rdi]" "vmovapd [rdi], xmm2"
        "vmovntdq [rdi], ymm4" "vmovntps [rdi], ymm5" "vmovntpd [rdi], xmm6"
        "vmovntdqa xmm12, [rdi]"
    );
}
