//! Behaviour of the built binary: roles as processes, one behaviour per file.

mod alerts;
mod api;
#[path = "../support/attack.rs"]
mod attack;
mod behind_proxies;
mod broken_workers;
mod child_api;
mod client;
#[path = "../support/collector.rs"]
mod collector;
mod confinement;
mod create_failures;
mod description;
mod ends;
mod ends_by_force;
mod ends_by_itself;
mod ends_with_service;
mod engines;
#[path = "../support/etcd.rs"]
mod etcd;
mod events;
mod fleet;
mod full_disk;
#[path = "../rooms/guest.rs"]
#[allow(dead_code)]
mod guest;
#[path = "../support/hook_receiver.rs"]
mod hook_receiver;
mod http;
mod hygiene;
mod identity;
mod lab;
mod lease;
mod lifecycle;
mod limits;
mod links;
mod listening;
mod lists;
mod log_reader;
mod logs;
mod lost_answers;
mod metrics;
mod moves;
mod namespaces;
mod one_origin;
mod operators;
mod pairs;
mod proxies;
mod records;
mod recovery;
mod requests;
mod room_client;
mod room_talkers;
mod rooms;
mod rooms_fleet;
mod rooms_talk;
mod second_worker;
mod secrets;
mod shared_namespaces;
mod slow_bodies;
mod standstill;
mod sweep;
mod ten_minutes;
mod timeline;
mod webhooks;
