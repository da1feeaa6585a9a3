// The DSDT as ASL, for the reader and for one of the tests of acpi.rs, which holds what
// `iasl` (ACPICA 20200925) makes of this file.
DefinitionBlock ("dsdt.aml", "DSDT", 2, "SKERRY", "SKERRYVM", 1)
{
    Name (_S5, Package () { 5, 5, 0, 0 })

    Scope (_SB)
    {
        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x3f8, 0x3f8, 1, 8)
                Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 4 }
            })
        }

        Device (RTC)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x70, 0x70, 1, 2)
                Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 8 }
            })
        }

        Device (TIMR)
        {
            Name (_HID, EisaId ("PNP0100"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x40, 0x40, 1, 4)
                Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 0 }
            })
        }
    }
}
