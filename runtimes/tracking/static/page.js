"use strict";

const byId = (id) => document.getElementById(id);
const KEPT = 150; // points of a trajectory
const FAINT = "#828282";
let constants = null;
let trail = [];

function stream() {
  const url = new URL("stream" + location.search, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  const ask = (drawn) => socket.send(JSON.stringify({ drawn, rates: byId("rates").checked }));
  socket.onmessage = async (event) => {
    if (typeof event.data === "string") {
      constants = JSON.parse(event.data);
      constants.joints.forEach((name, index) => byId("joint").add(new Option(name.replace("_", " "), index)));
      byId("status").textContent = "live";
      ask(-1);
      return;
    }
    const size = new DataView(event.data).getUint32(0, true);
    const shown = JSON.parse(new TextDecoder().decode(new Uint8Array(event.data, 4, size)));
    const picture = await createImageBitmap(new Blob([new Uint8Array(event.data, 4 + size)], { type: "image/jpeg" }));
    drawPicture(shown, picture);
    picture.close();
    drawTrail(shown);
    drawNumbers(shown);
    drawHistogram(shown.histogram);
    drawRates(shown);
    document.body.dataset.number = shown.number;
    if (socket.readyState === WebSocket.OPEN) ask(shown.number);
  };
  socket.onclose = (event) => {
    byId("status").textContent = event.code === 1001 ? "the program has ended" : `not connected (${event.code})`;
  };
}

function drawPicture(shown, picture) {
  const canvas = byId("picture");
  if (canvas.width !== picture.width || canvas.height !== picture.height) {
    canvas.width = picture.width;
    canvas.height = picture.height;
  }
  const pen = canvas.getContext("2d");
  pen.drawImage(picture, 0, 0);
  if (!byId("overlay").checked) return;
  const scale = picture.width / shown.size[0];
  const unit = Math.max(1, Math.round(Math.min(picture.width, picture.height) / 240));
  const [left, top, width, height] = shown.box.map((value) => value * scale);
  pen.strokeStyle = shown.found ? "#f0f0f0" : FAINT;
  pen.lineWidth = unit;
  pen.strokeRect(left, top, width, height);
  if (!shown.found) return;
  const points = shown.keypoints.map(([x, y]) => [x * scale, y * scale]);
  for (const [start, end, colour] of constants.limbs) {
    const sure = Math.min(shown.scores[start], shown.scores[end]) >= constants.sure;
    pen.strokeStyle = sure ? colour : FAINT;
    pen.lineWidth = (sure ? 2 : 1) * unit;
    pen.beginPath();
    pen.moveTo(...points[start]);
    pen.lineTo(...points[end]);
    pen.stroke();
  }
  points.forEach(([x, y], joint) => {
    pen.fillStyle = shown.scores[joint] >= constants.sure ? constants.colours[joint] : FAINT;
    pen.beginPath();
    pen.arc(x, y, 2 * unit, 0, 2 * Math.PI);
    pen.fill();
  });
}

function drawTrail(shown) {
  const [x, y] = shown.keypoints[byId("joint").value];
  trail.push(shown.found ? [x, y] : null);
  trail = trail.slice(-KEPT);
  const canvas = byId("trajectory");
  const pen = canvas.getContext("2d");
  const most = Math.max(...shown.size);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.strokeStyle = constants.colours[byId("joint").value];
  [0, 1].forEach((axis) => {
    pen.setLineDash(axis ? [4, 3] : []);
    pen.beginPath();
    let drawing = false;
    trail.forEach((point, index) => {
      if (point === null) { drawing = false; return; }
      const place = [(index / KEPT) * canvas.width, (point[axis] / most) * canvas.height];
      if (drawing) pen.lineTo(...place); else pen.moveTo(...place);
      drawing = true;
    });
    pen.stroke();
  });
}

function drawNumbers(shown) {
  const { glance } = shown;
  const pair = (one, two) => `${one.toFixed(1)} ms, ${two.toFixed(1)} ms`;
  byId("fps").textContent = glance.frames_per_second.toFixed(1);
  byId("age").textContent = pair(glance.age_p50, glance.age_p99);
  byId("page-age").textContent = shown.page_age ? pair(shown.page_age.p50, shown.page_age.p99) : "-";
  byId("network").textContent = `${glance.network_ms.toFixed(1)} ms`;
  byId("frames").textContent = `${glance.frames}, ${glance.dropped}`;
  byId("jitter").textContent = `${glance.jitter_px.toFixed(2)} px/frame²`;
  byId("cpu").textContent = `${glance.cpu_cores.toFixed(2)} cores`;
}

function drawHistogram(counts) {
  const canvas = byId("histogram");
  const pen = canvas.getContext("2d");
  const style = getComputedStyle(document.body);
  const foot = 16;
  const width = canvas.width / counts.length;
  const most = Math.max(1, ...counts);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = style.getPropertyValue("--accent");
  counts.forEach((count, index) => {
    const height = (count / most) * (canvas.height - foot - 2);
    pen.fillRect(index * width, canvas.height - foot - height, width - 1, height);
  });
  pen.fillStyle = style.color;
  pen.font = "11px system-ui, sans-serif";
  constants.edges.forEach((edge, index) => {
    if (index % 5 === 1) pen.fillText(`${edge.toFixed(0)} ms`, index * width, canvas.height - 4);
  });
}

function drawRates(shown) {
  const table = byId("layers");
  if (!byId("rates").checked) { table.replaceChildren(); return; }
  if (shown.rates_failure) { table.textContent = shown.rates_failure; return; }
  if (!shown.rates) return;
  const layers = Object.entries(shown.rates);
  while (table.rows.length > layers.length) table.deleteRow(-1);
  layers.forEach(([layer, rate], index) => {
    let row = table.rows[index];
    if (!row) {
      row = table.insertRow();
      for (let i = 0; i < 3; i += 1) row.insertCell();
      const meter = document.createElement("meter");
      meter.max = 0.5;
      row.cells[1].append(meter);
    }
    row.cells[0].textContent = layer;
    row.cells[1].firstChild.value = rate;
    row.cells[2].textContent = `${(100 * rate).toFixed(1)} %`;
  });
}

byId("joint").addEventListener("change", () => { trail = []; });
stream();
