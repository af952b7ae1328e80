-- squawk-ignore ban-drop-column -- it goes with its release
alter table copilot_internal.api_keys drop column configured_at;
