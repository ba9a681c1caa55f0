// node-nut, which ioBroker, Node-RED and Homebridge use. Arguments: root folder, port.
const assert = require('assert');
const util = require('util');
const [root, port] = process.argv.slice(2);
const Nut = require(root + '/node/node_modules/node-nut');

const nut = new Nut(Number(port), '127.0.0.1');
// Its callbacks give the result first and the error second; some give the error alone.
const ask = (name, ...args) => new Promise((resolve) => nut[name](...args, (result, error) => resolve([result, error])));

async function main() {
  const [list, failed] = await ask('GetUPSList');
  assert.strictEqual(failed, null);
  assert.deepStrictEqual({ ...list }, {
    fine: 'The fine one', battery: 'Description unavailable', stale: 'Description unavailable', absent: 'Description unavailable',
  });
  const [variables] = await ask('GetUPSVars', 'fine');
  assert.strictEqual(variables['ups.status'], 'OL CHRG');
  assert.strictEqual(variables['ups.load'], '23.4');
  assert.deepStrictEqual((await ask('GetUPSCommands', 'fine'))[0].sort(),
    ['beeper.toggle', 'load.off', 'load.on', 'shutdown.return', 'test.battery.start']);
  assert.deepStrictEqual(Object.keys((await ask('GetRWVars', 'fine'))[0]).sort(),
    ['battery.charge.low', 'input.sensitivity', 'ups.delay.start', 'ups.id']);
  assert.deepStrictEqual((await ask('GetEnumsForVar', 'fine', 'input.sensitivity'))[0], ['high', 'medium', 'low']);
  assert.deepStrictEqual((await ask('GetRangesForVar', 'fine', 'ups.delay.start'))[0], [{ min: '0', max: '60' }]);
  assert.strictEqual((await ask('GetVarDescription', 'fine', 'ups.status'))[0].length > 0, true);
  assert.strictEqual((await ask('GetCommandDescription', 'fine', 'load.off'))[0].length > 0, true);
  const [none, stale] = await ask('GetUPSVars', 'stale');
  assert.deepStrictEqual([none, stale], [null, 'DATA-STALE']);
  assert.deepStrictEqual([await ask('SetUsername', 'admin'), await ask('SetPassword', 'adminpass')].map((one) => one[0]), [null, null]);
  assert.strictEqual((await ask('SetRWVar', 'fine', 'ups.id', 'node'))[0], null);
  assert.strictEqual((await ask('RunUPSCommand', 'fine', 'load.on'))[0], null);
  assert.strictEqual((await ask('RunUPSCommand', 'fine', 'no.such'))[0].trim(), 'CMD-NOT-SUPPORTED');
  assert.match((await ask('ver'))[0], /^Network UPS Tools upsd /);
  assert.strictEqual((await ask('netVer'))[0].trim(), '1.3');
  nut.on('close', () => console.log('node-nut: fine'));
  nut.close();
}

nut.on('error', (error) => { console.error(error); process.exit(1); });
nut.on('ready', () => main().catch((error) => { console.error(util.inspect(error)); process.exit(1); }));
nut.start();
