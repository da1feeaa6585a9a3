//! Links the component as every component is.

#[path = "../rt/link.rs"]
mod link;

fn main() {
    link::component();
}
