// A server as in the first page of Node's documentation.
const http = require('node:http');

http.createServer((request, response) => {
  response.setHeader('Content-Type', 'text/plain');
  response.end('A short answer.\n');
}).listen(8080, '127.0.0.1');
