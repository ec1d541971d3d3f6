// Send all that the client hot-shots can, to the host and port of the command line.

const StatsD = require('hot-shots');

const [host, port] = process.argv.slice(2);
const address = { host, port: Number(port), errorHandler: fail };
const RATE = 0.25; // exact in binary, as are its inverse and their sums
const TWO_HOURS_AGO = new Date(Date.now() - 2 * 3600 * 1000);

function fail(error) {
  console.error(error);
  process.exit(1);
}

function closed(client) {
  return new Promise((done) => client.close(done));
}

async function everyKind() {
  const client = new StatsD({ ...address, prefix: 'app.', globalTags: { env: 'prod' } });
  client.increment('c');
  client.increment('c', 5, ['host:a']);
  client.decrement('c', 2, { host: 'b' });
  client.increment(['c', 'other'], 10, 1.0);
  client.gauge('g', 70);
  client.gaugeDelta('g', 5);
  client.gaugeDelta('g', -15);
  for (const value of [1, 2, 6]) {
    client.timing('t', value);
    client.histogram('h', value, ['host:a']);
    client.distribution('d', value, 1.0, { host: 'a' });
    client.unique('s', `member-${value % 2}`);
  }
  client.set('s', 'member-2');
  client.childClient({ suffix: '.child', globalTags: { host: 'a' } }).increment('c');
  client.timer(() => 42, 'block')();
  await client.asyncTimer(async () => 42, 'task')();
  await client.asyncDistTimer(async () => 42, 'task')();
  await closed(client);
}

async function eventsAndChecks() {
  const client = new StatsD({ ...address, globalTags: ['env:prod'] });
  client.event('title');
  client.event('Man down!', 'two\nlines', {
    date_happened: TWO_HOURS_AGO,
    hostname: 'web-1',
    aggregation_key: 'path/to',
    priority: 'low',
    source_type_name: 'node',
    alert_type: 'error',
  }, ['host:a']);
  client.check('agent.up', client.CHECKS.OK);
  client.check('agent.down', client.CHECKS.CRITICAL, {
    date_happened: TWO_HOURS_AGO,
    hostname: 'web-1',
    message: 'all is well #really',
  }, ['host:a']);
  await closed(client);
}

async function datadogFields() {
  const client = new StatsD({
    ...address,
    datadog: true,
    includeDatadogTelemetry: false,
    containerID: 'ci-1',
    cardinality: 'low',
  });
  client.increment('late', 124, { timestamp: TWO_HOURS_AGO, tags: ['host:a'] });
  client.increment('late');
  client.event('title', 'text');
  client.check('agent.up', client.CHECKS.OK, { message: 'well' });
  await closed(client);
}

async function batch() {
  const client = new StatsD({ ...address, maxBufferSize: 1432, bufferFlushInterval: 60000 });
  for (let value = 0; value < 200; value += 1) {
    client.timing('batch', value);
  }
  await closed(client);
}

async function sampled() {
  const client = new StatsD({ ...address, sampleRate: RATE });
  const chances = [0, 0.1, 0.9, 0.2, 0.3]; // three of five are under the rate
  Math.random = () => { chances.push(chances.shift()); return chances.at(-1); };
  for (let i = 0; i < 20; i += 1) {
    client.increment('sampled', 3);
  }
  await closed(client);
}

everyKind().then(eventsAndChecks).then(datadogFields).then(batch).then(sampled).catch(fail);
