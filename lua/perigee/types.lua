---@meta perigee
-- What a script sees, for the Lua language server: it completes and checks
-- aggregates, projections and everything they may call.  Never run; a test
-- compares the names with those the engine registers, both ways.

---@diagnostic disable: missing-return, unused-local, lowercase-global

-- Values ---------------------------------------------------------------------

---An exact decimal of up to 1,000 digits.  Operators take decimals, numbers and
---strings that spell numbers, and give decimals; a quotient has 28 digits,
---rounded half to even.  `==`, `<` and `<=` compare two decimals by value.
---@class perigee.Decimal
---@operator add(perigee.Decimal|number|string): perigee.Decimal
---@operator sub(perigee.Decimal|number|string): perigee.Decimal
---@operator mul(perigee.Decimal|number|string): perigee.Decimal
---@operator div(perigee.Decimal|number|string): perigee.Decimal
---@operator unm: perigee.Decimal
local Decimal = {}

---Rounded to exactly so many digits after the point, half to even.
---@param places integer 0 to 1,000
---@return perigee.Decimal
function Decimal:round(places) end

---JSON null: equal to itself, prints "null".
---@class perigee.Null

---Anything that can be stored: no functions, no NaN, no infinities, no holes
---in arrays; strings are UTF-8.  Decimals are stored as strings.
---@alias perigee.Json perigee.Null|boolean|number|string|perigee.Decimal|perigee.Json[]|table<string, perigee.Json>

---RFC 3339 in UTC with microseconds: 2010-12-01T08:26:00.000000Z.
---@alias perigee.Time string

-- Events ---------------------------------------------------------------------

---An event as `apply` sees it.  Fields are made when they are read: keep the
---fields you need, not the event, beyond the end of the handler.
---@class (exact) perigee.AppliedEvent
---@field event_id string
---@field event_type string
---@field event_version integer of the shape that `data` has, after upcasts
---@field aggregate_type string
---@field aggregate_id string
---@field aggregate_version integer place in its stream, from 1
---@field data table<string, any>
---@field metadata table<string, any>
---@field tenant_id? string
---@field actor_id? string
---@field correlation_id? string
---@field causation_id? string
---@field occurred_at perigee.Time the producer's clock

---An event as a projection sees it.
---@class (exact) perigee.Event : perigee.AppliedEvent
---@field position integer place in the global order, from 1
---@field recorded_at perigee.Time the store's clock

-- Aggregates -----------------------------------------------------------------

---What a command's `run` is given.  It only lives while the command runs.
---@class (exact) perigee.Order
---@field id string the aggregate's id
---@field version integer of the state; 0 when there are no events yet
---@field state table a copy of the folded state; changing it changes nothing: emit an event, then read it again
local Order = {}

---Records an event and applies it.  The type must be one of `apply`; `data` is
---applied as it will be read back: decimals as strings.
---@param event_type string
---@param data table<string, perigee.Json>
---@param metadata? table<string, perigee.Json> added to the command's own
function Order:emit(event_type, data, metadata) end

---Refuses the command with this sentence; nothing is stored.
---@param message string
function Order:reject(message) end

---Refuses the command when the condition holds.
---@param condition any
---@param message string
function Order:reject_if(condition, message) end

---A field of a command's input; `?` at its end: it may be left out.
---@alias perigee.InputWord
---| "string" | "boolean" | "decimal"
---| "number" # whole numbers beyond 2^53 arrive as decimals
---| "integer" # beyond 2^53 as a decimal
---| "uuid" # in lower case
---| "date" # YYYY-MM-DD
---| "timestamp" # as `perigee.Time`, whatever zone was given
---| "table" # a JSON object
---| "list" # a JSON array
---| "string?" | "number?" | "integer?" | "boolean?" | "decimal?"
---| "uuid?" | "date?" | "timestamp?" | "table?" | "list?"

---@class (exact) perigee.Command
---@field input? table<string, perigee.InputWord> without it any object is taken
---@field run fun(order: perigee.Order, input: table<string, any>)

---@class (exact) perigee.Aggregate
---@field type string
---@field snapshot_every? integer a snapshot whenever the version has passed a multiple of it
---@field state_version? integer of the state's shape: snapshots outlive the script's text as long as it stays
---@field initial? fun(id: string): table
---@field commands? table<string, perigee.Command>
---@field apply table<string, fun(state: table, event: perigee.AppliedEvent)> changes the state, returns nothing
---@field upcast? table<string, (fun(data: table): table)[]> [1] brings version 1 to 2, and so on, for `apply` and for projections

-- Projections ----------------------------------------------------------------

---A column; `?` at its end: it may be null.
---@alias perigee.ColumnWord
---| "text" | "uuid"
---| "bigint" # numbers; read as a decimal beyond 2^53
---| "integer"
---| "numeric" # exact; read as a decimal, takes decimals, strings, numbers
---| "double" | "boolean"
---| "date" # YYYY-MM-DD
---| "timestamp"
---| "json"
---| "text?" | "uuid?" | "bigint?" | "integer?" | "numeric?" | "double?"
---| "boolean?" | "date?" | "timestamp?" | "json?"

---@class (exact) perigee.Table
---@field key string the column that names a row
---@field columns table<string, perigee.ColumnWord>
---@field indexes? string[][]

---@class (exact) perigee.Subscription
---@field batch_size? integer events a batch
---@field checkpoint_strategy? "every_batch"
---@field processing_timeout? number seconds for one event
---@field required? boolean false: when it stops, the instance stays ready
---@field start_from? "checkpoint"|"beginning"|"end"|integer

---@class (exact) perigee.Filter
---@field event_types? string[]
---@field aggregate_types? string[]
---@field tenant_id? string

---A table of the projection.  A value that its column does not take is an
---error of the line that gave it; `json.null` writes NULL, NULL reads as nil.
---@class (exact) perigee.Rows
local Rows = {}

---The row as this handler should see it, or nil.
---@param key any
---@return table<string, any>?
function Rows:get(key) end

---Inserts or replaces a row; columns that are left out become null.
---@param row table<string, any>
function Rows:put(row) end

---Inserts a row; a second one with that key is an error of the event.
---@param row table<string, any>
function Rows:insert(row) end

---Changes some columns; a row that is not there is not made.
---@param key any
---@param fields table<string, any>
function Rows:patch(key, fields) end

---Adds to numeric columns; a row that is not there starts from zero.
---@param key any
---@param amounts table<string, perigee.Decimal|number|string>
function Rows:add(key, amounts) end

---Removes the row, if there is one.
---@param key any
function Rows:delete(key) end

---The tables of the projection, by name.
---@alias perigee.Db table<string, perigee.Rows>

---@class (exact) perigee.Projection
---@field name string
---@field version? integer
---@field subscription? perigee.Subscription
---@field tables table<string, perigee.Table>
---@field on table<string, fun(event: perigee.Event, db: perigee.Db)> by event type; "*": those without a handler
---@field filter? perigee.Filter

-- Functions of Perigee -------------------------------------------------------

---An exact decimal of a string, a number (at its shortest spelling) or a
---decimal.
---@param x string|number|perigee.Decimal
---@return perigee.Decimal
function decimal(x) end

---Ends the running command with this sentence; nothing is stored.
---@param message string
function reject(message) end

---A module (a file whose name begins with `_`) of the same tree: "_money",
---"sub._money".  It runs once; what it returns is shared, not copied.
---@param name string
---@return any
function require(name) end

---The event's time in projections and `apply`, so that replays repeat exactly;
---the present in commands.
---@return perigee.Time
function time() end

---A UUID; in projections and `apply` always the same for the same event.
---@return string
function uuid() end

json = {}

---JSON null.
---@type perigee.Null
json.null = nil

---Marks a table (a new one without an argument) as an array, so that it stays
---`[]` when it is empty.
---@param t? table
---@return table
function json.array(t) end

---@param text string
---@return any
function json.decode(text) end

---The shortest text; keys in byte order.
---@param value perigee.Json
---@return string
function json.encode(value) end

log = {}

---@param text string
---@param fields? table<string, any>
function log.debug(text, fields) end

---@param text string
---@param fields? table<string, any>
function log.info(text, fields) end

---@param text string
---@param fields? table<string, any>
function log.warning(text, fields) end

---@param text string
---@param fields? table<string, any>
function log.error(text, fields) end

-- Lua ------------------------------------------------------------------------

---@generic T
---@param v? T
---@param message? any
---@return T
---@return any ...
function assert(v, message, ...) end

---@param message any
---@param level? integer
function error(message, level) end

---@param object any
---@return any
function getmetatable(object) end

---@generic V
---@param t V[]
---@return fun(t: V[], i?: integer): integer, V
---@return V[]
---@return integer
function ipairs(t) end

---Keys in order: numbers, then strings by bytes, then false and true.
---@generic K, V
---@param t table<K, V>
---@return fun(t: table<K, V>, k?: K): K, V
---@return table<K, V>
function pairs(t) end

---Catches errors; a refusal, a deadline and the end of memory pass through.
---@param f function
---@return boolean ok
---@return any ...
function pcall(f, ...) end

---@param a any
---@param b any
---@return boolean
function rawequal(a, b) end

---@param t table
---@param key any
---@return any
function rawget(t, key) end

---@param index integer|"#"
---@return any ...
function select(index, ...) end

---@param t table
---@param metatable? table
---@return table
function setmetatable(t, metatable) end

---@param x any
---@param base? integer
---@return number?
function tonumber(x, base) end

---Tables and functions print their type, never an address.
---@param x any
---@return string
function tostring(x) end

---@param x any
---@return "nil"|"number"|"string"|"boolean"|"table"|"function"|"userdata"
function type(x) end

---@param list table
---@param i? integer
---@param j? integer
---@return any ...
function unpack(list, i, j) end

string = {}

---@param s string
---@param i? integer
---@param j? integer
---@return integer ...
function string.byte(s, i, j) end

---@param ... integer
---@return string
function string.char(...) end

---@param s string
---@param pattern string
---@param init? integer
---@param plain? boolean
---@return integer? from
---@return integer? to
---@return string ...
function string.find(s, pattern, init, plain) end

---`%p` is not available.
---@param format string
---@return string
function string.format(format, ...) end

---@param s string
---@param pattern string
---@return fun(): string, ...
function string.gmatch(s, pattern) end

---@param s string
---@param pattern string
---@param replacement string|table|function
---@param n? integer
---@return string
---@return integer count
function string.gsub(s, pattern, replacement, n) end

---@param s string
---@return integer
function string.len(s) end

---@param s string
---@return string
function string.lower(s) end

---@param s string
---@param pattern string
---@param init? integer
---@return string? ...
function string.match(s, pattern, init) end

---@param s string
---@param n integer
---@param sep? string
---@return string
function string.rep(s, n, sep) end

---@param s string
---@return string
function string.reverse(s) end

---@param s string
---@param i integer
---@param j? integer
---@return string
function string.sub(s, i, j) end

---@param s string
---@return string
function string.upper(s) end

table = {}

---@param list table
---@param sep? string
---@param i? integer
---@param j? integer
---@return string
function table.concat(list, sep, i, j) end

---@param list table
---@param position integer
---@param value any
---@overload fun(list: table, value: any)
function table.insert(list, position, value) end

---@param t table
---@return number
function table.maxn(t) end

---@param from table
---@param first integer
---@param last integer
---@param at integer
---@param to? table
---@return table
function table.move(from, first, last, at, to) end

---@param list table
---@param position? integer
---@return any
function table.remove(list, position) end

---@param list table
---@param less? fun(a: any, b: any): boolean
function table.sort(list, less) end

math = {}

math.huge = 1 / 0
math.pi = 3.141592653589793

---@param x number
---@return number
function math.abs(x) end

---@param x number
---@return number
function math.acos(x) end

---@param x number
---@return number
function math.asin(x) end

---@param x number
---@return number
function math.atan(x) end

---@param y number
---@param x number
---@return number
function math.atan2(y, x) end

---@param x number
---@return integer
function math.ceil(x) end

---@param x number
---@return number
function math.cos(x) end

---@param x number
---@return number
function math.cosh(x) end

---@param x number
---@return number
function math.deg(x) end

---@param x number
---@return number
function math.exp(x) end

---@param x number
---@return integer
function math.floor(x) end

---@param x number
---@param y number
---@return number
function math.fmod(x, y) end

---@param x number
---@return number
---@return integer
function math.frexp(x) end

---@param m number
---@param e integer
---@return number
function math.ldexp(m, e) end

---@param x number
---@param base? number
---@return number
function math.log(x, base) end

---@param x number
---@return number
function math.log10(x) end

---@param x number
---@param ... number
---@return number
function math.max(x, ...) end

---@param x number
---@param ... number
---@return number
function math.min(x, ...) end

---@param x number
---@return number
---@return number
function math.modf(x) end

---@param x number
---@param y number
---@return number
function math.pow(x, y) end

---@param x number
---@return number
function math.rad(x) end

---@param x number
---@return number
function math.sin(x) end

---@param x number
---@return number
function math.sinh(x) end

---@param x number
---@return number
function math.sqrt(x) end

---@param x number
---@return number
function math.tan(x) end

---@param x number
---@return number
function math.tanh(x) end

bit = {}

---@param x integer
---@param n integer
---@return integer
function bit.arshift(x, n) end

---@param x integer
---@param ... integer
---@return integer
function bit.band(x, ...) end

---@param x integer
---@return integer
function bit.bnot(x) end

---@param x integer
---@param ... integer
---@return integer
function bit.bor(x, ...) end

---@param x integer
---@return integer
function bit.bswap(x) end

---@param x integer
---@param ... integer
---@return integer
function bit.bxor(x, ...) end

---@param x integer
---@param n integer
---@return integer
function bit.lshift(x, n) end

---@param x integer
---@param n integer
---@return integer
function bit.rol(x, n) end

---@param x integer
---@param n integer
---@return integer
function bit.ror(x, n) end

---@param x integer
---@param n integer
---@return integer
function bit.rshift(x, n) end

---@param x number
---@return integer
function bit.tobit(x) end

---@param x integer
---@param digits? integer
---@return string
function bit.tohex(x, digits) end
