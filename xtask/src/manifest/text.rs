//! TOML to drafts of VMs.
//!
//! Owns the keys and where they stand. A table with a wrong key or type is refused and
//! left out; the others are read all the same.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use skerry_manifest::{ApicBy, ImageKind, ModuleManifest, OnExit, PageSize, VmManifest};
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::refusal::{Places, Refusals};
use super::value::{Clock, Size};

/// What may stand in a `[[vm]]` table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VmText {
    name: String,
    memory: Size,
    kernel: String,
    initrd: Option<String>,
    #[serde(default)]
    cmdline: String,
    #[serde(default)]
    kind: ImageKind,
    #[serde(default)]
    modules: Vec<ModuleText>,
    vcpus: Option<u32>,
    weight: Option<u32>,
    #[serde(default)]
    on_exit: OnExit,
    max_restarts: Option<u32>,
    #[serde(default)]
    page_size: PageSize,
    #[serde(default)]
    mmio_uart: bool,
    #[serde(default)]
    apic: ApicBy,
    #[serde(default)]
    test_devices: bool,
    rtc: Option<Clock>,
    #[serde(default)]
    background: bool,
    monitor: Option<String>,
}

/// What may stand in a table of `modules`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModuleText {
    file: String,
    #[serde(default)]
    cmdline: String,
}

impl ModuleText {
    fn into_manifest(self) -> ModuleManifest {
        ModuleManifest {
            file: self.file,
            cmdline: self.cmdline,
        }
    }
}

impl VmText {
    fn into_manifest(self) -> VmManifest {
        let modules = self.modules.into_iter().map(ModuleText::into_manifest);
        let defaults = VmManifest::new(self.name, self.memory.0, self.kernel);
        VmManifest {
            kind: self.kind,
            initrd: self.initrd,
            cmdline: self.cmdline,
            modules: modules.collect(),
            vcpus: self.vcpus.unwrap_or(defaults.vcpus),
            weight: self.weight.unwrap_or(defaults.weight),
            on_exit: self.on_exit,
            max_restarts: self.max_restarts.unwrap_or(defaults.max_restarts),
            page_size: self.page_size,
            mmio_uart: self.mmio_uart,
            apic: self.apic,
            test_devices: self.test_devices,
            rtc_unix_seconds: self.rtc.map_or(defaults.rtc_unix_seconds, |clock| clock.0),
            background: self.background,
            monitor: self.monitor,
            ..defaults
        }
    }
}

/// A VM as it was written, and where.
type Draft = (VmManifest, Places);

/// A manifest's text, and what it is called in messages.
struct Text<'a> {
    shown: &'a str,
    text: &'a str,
}

/// The VMs of a manifest that is called `shown` in messages, and its `attach`.
pub(super) fn read(
    shown: &str,
    text: &str,
    refusals: &mut Refusals,
) -> (Vec<Draft>, Option<String>) {
    let file = Text { shown, text };
    let mut drafts = Vec::new();
    let mut attach: Option<(String, String)> = None;
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            refusals.add(file.place(error.span()), error.message());
            return (drafts, None);
        }
    };
    for (key, value) in table {
        let place = file.place(Some(key.span()));
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("vm", DeValue::Array(_)) => drafts = file.vms(value, refusals),
            ("vm", _) => refusals.add(place, "`vm` is no list; write [[vm]] with two brackets"),
            ("attach", DeValue::String(name)) => attach = Some((place, name.to_string())),
            ("attach", _) => refusals.add(place, "key `attach`: must be the name of a VM"),
            (other, _) => refusals.add(
                place,
                format!("unknown key `{other}`; only `attach` and [[vm]] tables stand here"),
            ),
        }
    }
    let attach = attach.and_then(|attach| known(attach, &drafts, refusals));
    (drafts, attach)
}

/// The name to attach to, if a VM has it or may have it.
fn known(
    (place, name): (String, String),
    drafts: &[Draft],
    refusals: &mut Refusals,
) -> Option<String> {
    if refusals.is_empty() && drafts.iter().all(|(vm, _)| vm.name != name) {
        let text = format!("key `attach`: no VM is named \"{name}\"; name one of this file");
        refusals.add(place, text);
        return None;
    }
    Some(name)
}

impl Text<'_> {
    fn vms(&self, list: Spanned<DeValue>, refusals: &mut Refusals) -> Vec<Draft> {
        let DeValue::Array(list) = list.into_inner() else {
            return Vec::new();
        };
        let numbered = list.into_iter().zip(1..);
        numbered
            .filter_map(|(table, number)| self.vm(table, number, refusals))
            .collect()
    }

    /// The draft of the table, the `number`th of its kind; `None` if it is refused.
    fn vm(&self, table: Spanned<DeValue>, number: u32, refusals: &mut Refusals) -> Option<Draft> {
        let name = table
            .get_ref()
            .get("name")
            .and_then(|name| name.get_ref().as_str());
        let called = name.map_or(format!("vm #{number}"), |name| format!("vm \"{name}\""));
        let spans = spans(table.get_ref());
        let keys = spans.iter().map(|(key, span)| {
            let place = format!("{}: {called}: key `{key}`", self.place(Some(span.clone())));
            (key.clone(), place)
        });
        let places = Places::new(
            format!("{}: {called}", self.place(Some(table.span()))),
            keys.collect::<BTreeMap<_, _>>(),
        );
        let read: Result<VmText, Error> = VmText::deserialize(table.into_deserializer());
        match read {
            Ok(read) => Some((read.into_manifest(), places)),
            Err(error) => {
                let inside = error.span().and_then(|at| key_at(&spans, at.start));
                let table = match inside {
                    Some("modules") => "every table of `modules`",
                    _ => "this [[vm]] table",
                };
                let place = places.of(inside.unwrap_or(""));
                refusals.add(place, reworded(error.message(), table));
                None
            }
        }
    }

    /// `file:line:column` of a span's start, both counted from 1.
    fn place(&self, span: Option<Range<usize>>) -> String {
        let start = span.map_or(0, |span| span.start);
        let before = self.text.get(..start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        format!("{}:{line}:{column}", self.shown)
    }
}

/// Where each key of a table stands, from the key's start to its value's end.
fn spans(table: &DeValue) -> Vec<(String, Range<usize>)> {
    let entries = table.as_table().into_iter().flatten();
    entries
        .map(|(key, value)| {
            (
                key.get_ref().to_string(),
                key.span().start..value.span().end,
            )
        })
        .collect()
}

fn key_at(spans: &[(String, Range<usize>)], at: usize) -> Option<&str> {
    spans
        .iter()
        .find(|(_, span)| span.contains(&at))
        .map(|(key, _)| key.as_str())
}

/// serde's words in the manifest's: its fields are keys here.
fn reworded(message: &str, table: &str) -> String {
    match message.strip_prefix("missing field ") {
        Some(key) => format!("missing key {key}; add it to {table}"),
        None => message.replacen("unknown field", "unknown key", 1),
    }
}
