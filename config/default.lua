-- Settings for development: what stands here wins over the defaults, the environment
-- (DATABASE_URL, PERIGEE_HTTP_LISTEN …) wins over this file, and options win over both.
-- `perigee help settings` lists everything that can be set, with its range and default.
--
-- Besides plain Lua there are env "NAME", env("NAME", default) and secret_file(path).

return {
  database = {
    url = "sqlite:data/perigee.db", -- or "postgresql://user@host/database"
  },

  scripts = {
    aggregates = "lua/aggregates",
    projections = "projections",
  },

  http = {
    listen = "127.0.0.1:8000",
  },

  log = {
    level = "INFO",
    format = "auto", -- text at a terminal, else one JSON object a line
  },
}
