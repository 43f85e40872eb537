// Portkey's gateway listens on every address of the machine and has no option to change that; a benchmark
// should not. Loaded with `node --require`.
const net = require("node:net");
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...rest) {
  if (typeof port !== "number") return listen.call(this, port, ...rest);
  return listen.call(this, port, "127.0.0.1", ...rest.filter((argument) => typeof argument === "function"));
};
