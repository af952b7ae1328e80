-- The secret that seals what instances keep in Redis. It is made once, here, so that all instances of a database share it.
create table copilot_internal.cache_secret (
  only_row boolean primary key default true check (only_row),
  secret text not null check (length(secret) >= 64)
);
comment on table copilot_internal.cache_secret is 'The random secret that seals cached values in Redis; a start reads it.';

-- Two random UUIDs: 244 bits from the random generator of Postgres that is meant for secrets.
insert into copilot_internal.cache_secret (secret)
values (replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''));

do $$
begin
  if not exists (select from copilot_internal.cache_secret) then
    raise exception 'migration 0023 did not make its secret';
  end if;
end $$;
