-- 0010 price feed: when newer data than a release's own was last read, so that prices that grow stale are told of.
alter table copilot_internal.price_edition
  add column fed_at timestamptz;
comment on column copilot_internal.price_edition.fed_at is
  'The time of the newest price data that a sync has read from a feed; null where none was ever in reach.';

do $$
begin
  if not exists (select from pg_attribute
      where attrelid = 'copilot_internal.price_edition'::regclass and attname = 'fed_at' and not attisdropped) then
    raise exception 'migration 0010 did not make its column';
  end if;
end $$;
