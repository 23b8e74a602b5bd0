//! The operations: one sub-command each, in the module of its name.

pub mod add_node;
pub mod app_secrets;
pub mod deploy_apps;
pub mod deploy_nixos;
pub mod deploy_passwords;
pub mod deploy_pki;
pub mod deploy_secrets;
pub mod doctor;
pub mod exec;
pub mod gen_pki;
pub mod gen_secrets;
pub mod generations;
pub mod init;
pub mod manual;
pub mod next;
pub mod nomad_scheduler;
pub mod passwd;
pub mod pki_status;
pub mod rollback;
pub mod rotate_ca;
pub mod rotate_gossip;
pub mod ssh;
pub mod status;
pub mod tlsproxy;
pub mod upgrade_nixos;
