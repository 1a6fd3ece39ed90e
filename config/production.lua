-- Settings for production, taken with PERIGEE_ENV=production; the image's default.
--
--   DATABASE_URL      postgresql://user:password@host/database, sslmode and all
--   PERIGEE_SECRETS   folder of the tokens' files; default /run/secrets/perigee:
--       writer        for programs that run commands and append
--       reader        for those that only read
--       admin         for operators: may stop the engine too
--
-- Without the variable or one of the files the engine does not start, and says which is missing.
-- A token is 16 to 512 visible characters: `openssl rand -hex 32` makes one.
-- Any scalar here can be overridden, as PERIGEE_SECTION_KEY.

local secrets = env("PERIGEE_SECRETS", "/run/secrets/perigee")

local function token(role)
  return { token = secret_file(secrets .. "/" .. role), role = role }
end

return {
  database = {
    url = env "DATABASE_URL",
    -- for LISTEN and migrations when DATABASE_URL goes through PgBouncer
    direct_url = env("DATABASE_DIRECT_URL", ""),
  },

  scripts = {
    aggregates = "lua/aggregates",
    projections = "projections",
  },

  http = {
    listen = "0.0.0.0:8000",
    probe_listen = "0.0.0.0:8001", -- probes and metrics: no token, no traffic beside them
    tokens = {
      writer = token "writer",
      reader = token "reader",
      admin = token "admin",
    },
  },

  -- Whoever stops the engine waits longer than `timeout` before killing it.
  shutdown = {
    timeout = 60,
    drain_timeout = 30,
  },

  log = {
    level = "INFO",
    format = "json",
  },
}
