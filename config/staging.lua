-- Settings for staging, taken with PERIGEE_ENV=staging: production's, but secrets come as
-- variables, the way a build server has them, and the log tells everything.
--
--   DATABASE_URL      where the log lives, as in production
--   WRITER_TOKEN, READER_TOKEN, ADMIN_TOKEN     16 to 512 visible characters each
--
-- Without one of them the engine does not start, and says which is missing.

return {
  database = {
    url = env "DATABASE_URL",
    direct_url = env("DATABASE_DIRECT_URL", ""),
  },

  scripts = {
    aggregates = "lua/aggregates",
    projections = "projections",
  },

  http = {
    listen = "0.0.0.0:8000",
    probe_listen = "0.0.0.0:8001",
    tokens = {
      writer = { token = env "WRITER_TOKEN", role = "writer" },
      reader = { token = env "READER_TOKEN", role = "reader" },
      admin = { token = env "ADMIN_TOKEN", role = "admin" },
    },
  },

  shutdown = {
    timeout = 60,
    drain_timeout = 30,
  },

  log = {
    level = "DEBUG",
    format = "json",
  },
}
