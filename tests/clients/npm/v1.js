// Drives the v1 API of docker-registry-client: node v1.js URL REPOSITORY TAG
// Prints one line of JSON a step: {"step", "error"} or {"step", "result"}.
'use strict';

const crypto = require('crypto');
const registry = require('docker-registry-client');

const [url, repository, tag] = process.argv.slice(2);
const client = registry.createClientV1({ name: `${url}/${repository}`, insecure: true });

function step(name, call) {
  return new Promise((resolve) => {
    call((error, result) => {
      const said = error ? { error: `${error.name}: ${error.message}` } : { result };
      console.log(JSON.stringify({ step: name, ...said }));
      resolve(result);
    });
  });
}

// The layer whole: its size and digest.
function layer(imgId, done) {
  client.getImgLayerStream({ imgId }, (error, stream) => {
    if (error) return done(error);
    const hash = crypto.createHash('sha256');
    let size = 0;
    stream.on('data', (piece) => { hash.update(piece); size += piece.length; });
    stream.on('error', done);
    stream.on('end', () => done(null, { size, sha256: hash.digest('hex') }));
    stream.resume();
  });
}

(async () => {
  await step('pingIndex', (done) => registry.pingIndexV1({ indexName: url, insecure: true }, done));
  await step('ping', (done) => client.ping((error, body) => done(error, body)));
  await step('search', (done) => client.search({ term: repository }, (error, body) => done(error, body)));
  await step('images', (done) => client.listRepoImgs((error, list) => done(error, list)));
  await step('tags', (done) => client.listRepoTags((error, tags) => done(error, tags)));
  const id = await step('id', (done) => client.getImgId({ tag }, (error, found) => done(error, found)));
  await step('absent tag', (done) => client.getImgId({ tag: 'absent' }, (error, found) => done(error, found)));
  if (!id) return client.close();
  await step('ancestry', (done) => client.getImgAncestry({ imgId: id }, (error, list) => done(error, list)));
  await step('json', (done) => client.getImgJson({ imgId: id }, (error, json) => done(error, json)));
  await step('layer', (done) => layer(id, done));
  return client.close();
})();
