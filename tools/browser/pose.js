// The portable graph of a bundle in onnxruntime-web: tested on the golden clips, then run on a camera.
import * as ort from "./ort.wasm.min.mjs";

const byId = (id) => document.getElementById(id);
const RADIUS = 4; // as in svf_edge/tasks/decoding.py
const SURE = 0.35;

async function bytes(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return answer.arrayBuffer();
}

async function run(session, model, frames) {
  const input = new ort.Tensor("uint8", frames, model.shape);
  return (await session.run({ [model.input]: input }))[model.output].data;
}

async function test(session, model) {
  let compared = 0;
  let differing = 0;
  for (const clip of model.golden) {
    const found = await run(session, model, new Uint8Array(await bytes(clip.frames)));
    const expected = new Int32Array(await bytes(clip.output));
    compared += expected.length;
    differing += expected.reduce((count, value, index) => count + (value !== found[index]), 0);
  }
  byId("test").textContent = `${differing} of ${compared} outputs differ from the golden ones`;
  Object.assign(document.body.dataset, { compared, differing });
}

// One axis of one joint: the mean in the window of bins that holds the most probability, and how much that is.
function axis(scores) {
  const most = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - most));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let best = { mass: -1, mean: 0 };
  for (let centre = 0; centre < weights.length; centre += 1) {
    let mass = 0;
    let moment = 0;
    for (let bin = Math.max(0, centre - RADIUS); bin <= Math.min(weights.length - 1, centre + RADIUS); bin += 1) {
      mass += weights[bin];
      moment += weights[bin] * bin;
    }
    if (mass > best.mass) best = { mass, mean: moment / mass };
  }
  return { place: (best.mean + 0.5) / weights.length, share: best.mass / total };
}

// Joints of the newest frame, x and y from 0 to 1.
function decode(output, model) {
  const newest = output.subarray(output.length - model.joints * 2 * model.bins);
  return Array.from({ length: model.joints }, (_, joint) => {
    const [x, y] = [0, 1].map((side) => {
      const begin = (joint * 2 + side) * model.bins;
      return axis(Array.from(newest.subarray(begin, begin + model.bins), (score) => score * 2 ** -model.exponent));
    });
    return { x: x.place, y: y.place, score: Math.min(x.share, y.share) };
  });
}

function draw(pen, joints, limbs) {
  const { width, height } = pen.canvas;
  pen.lineWidth = 4;
  for (const [start, end] of limbs) {
    const [one, other] = [joints[start], joints[end]];
    pen.strokeStyle = Math.min(one.score, other.score) >= SURE ? "#ff9f1c" : "#828282";
    pen.beginPath();
    pen.moveTo(one.x * width, one.y * height);
    pen.lineTo(other.x * width, other.y * height);
    pen.stroke();
  }
}

async function track(session, model) {
  byId("start").disabled = true;
  const video = document.createElement("video");
  video.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
  await video.play();
  const [steps, channels, height, width] = model.shape;
  const small = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  const shown = byId("picture").getContext("2d");
  const plane = height * width;
  const clip = new Uint8Array(steps * channels * plane);
  for (let frames = 0; ; frames += 1) {
    await new Promise((resolve) => video.requestVideoFrameCallback(resolve));
    const began = performance.now();
    const side = Math.min(video.videoWidth, video.videoHeight);
    const cut = [(video.videoWidth - side) / 2, (video.videoHeight - side) / 2, side, side];
    small.drawImage(video, ...cut, 0, 0, width, height);
    shown.drawImage(video, ...cut, 0, 0, shown.canvas.width, shown.canvas.height);
    const pixels = small.getImageData(0, 0, width, height).data;
    clip.copyWithin(0, channels * plane);
    const last = clip.subarray((steps - 1) * channels * plane);
    for (let channel = 0; channel < channels; channel += 1)
      for (let at = 0; at < plane; at += 1) last[channel * plane + at] = pixels[4 * at + channel];
    if (frames === 0) // the first frame stands for those before it
      for (let step = 0; step < steps - 1; step += 1) clip.set(last, step * channels * plane);
    const joints = decode(await run(session, model, clip), model);
    draw(shown, joints, model.limbs);
    byId("speed").textContent = `${(performance.now() - began).toFixed(0)} ms a frame`;
    document.body.dataset.frames = frames + 1;
    document.body.dataset.joints = JSON.stringify(joints);
  }
}

async function main() {
  ort.env.wasm.wasmPaths = "./";
  ort.env.wasm.numThreads = 1; // more need a server that isolates the page
  const model = JSON.parse(new TextDecoder().decode(await bytes("model.json")));
  const session = await ort.InferenceSession.create(new Uint8Array(await bytes("portable.onnx")), {
    executionProviders: ["wasm"],
  });
  await test(session, model);
  byId("start").disabled = false;
  byId("start").onclick = () => track(session, model).catch(fail);
}

function fail(error) {
  byId("test").textContent = `failed: ${error.message}`;
}

main().catch(fail);
