//! What is refused of modules and vCPUs.

use super::*;

#[test]
fn a_number_of_vcpus_outside_1_to_16_is_refused() {
    for vcpus in [0, 17] {
        let refusals = Desk::new().refusals(&good_with(&format!("vcpus = {vcpus}")));
        let place = "my.toml:6:1: vm \"alpha\": key `vcpus`: ";
        assert_one(&refusals, place, "outside 1 to 16");
    }
}

#[test]
fn too_many_modules_and_modules_that_are_no_files_are_refused_at_their_key() {
    let place = "my.toml:6:1: vm \"alpha\": key `modules`: ";
    let nine = ["{ file = \"sector\" }"; 9].join(", ");
    let refusals = Desk::new().refusals(&good_with(&format!("modules = [{nine}]")));
    assert_one(&refusals, place, "9 modules; a VM has at most 8");
    let refusals = Desk::new().refusals(&good_with("modules = [{ file = \"absent\" }]"));
    assert_one(&refusals, place, "\"absent\": there is no file");
}

#[test]
fn a_module_that_does_not_fit_is_named_at_its_key() {
    let desk = Desk::new();
    // A multiboot image with address fields, at 64 KiB.
    let fields = [
        0x1bad_b002,
        0x1_0000,
        0xe451_4ffe,
        0x1_0000,
        0x1_0000,
        0,
        0,
        0x1_0000,
    ];
    let image: Vec<u8> = fields.into_iter().flat_map(u32::to_le_bytes).collect();
    desk.put("kernel", &image);
    desk.put("disk", &[1; 4096]);
    let text = good_with("modules = [{ file = \"disk\" }]").replace("\"sector\"", "\"kernel\"");
    let place = "my.toml:6:1: vm \"alpha\": key `modules`: \"disk\": module 1 of 4096 bytes";
    assert_one(&desk.refusals(&text), place, "raise `memory` to 2M");
    desk.parse(&text.replace("1M", "2M"))
        .unwrap()
        .check()
        .unwrap();
}
