-- squawk-ignore require-concurrent-index-deletion -- an index is dropped in no time once its lock is there
drop index copilot_internal.cost_quotas_of_tenant;
