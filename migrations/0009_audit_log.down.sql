-- A default that was taken away would come back to life without its mark.
delete from copilot_internal.quota_defaults where deleted_at is not null;
alter table copilot_internal.quota_defaults drop column deleted_at;
drop table copilot_internal.audit_log;
drop table copilot_internal.audit_head;
drop function if exists copilot_internal.guard_audit_log();
