//! probe
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]
use skerry_abi::layout;
use skerry_component::{calls, component, pages, sabotage};
component! { main: run, heap_pages: layout::VMM_HEAP_PAGES, last_words: say }
fn say(text: &str) { pages::vm_page().say(text) }
fn run() -> ! { 
 skerry_component::instruction!("mov cr3, {0}", in(reg) 5u64);
 sabotage::interrupt(5);
 sabotage::write(sabotage::own_text(), sabotage::own_rodata());
 calls::end(0,0)
  }
