// Renew the claim on the open scan; release it when the page closes or the reader is idle.

import { part, post } from "./api.js";

const IDLE_MS = 5 * 60 * 1000; // without a key press or pointer movement

// openScan() returns the id of the scan that is open for a decision, or null. lost(error) is called if another reader has
// claimed it, idle() after it was released.
export function claimOf(openScan, everyMs, lost, idle) {
  let touchedAt = performance.now();
  const touched = () => { touchedAt = performance.now(); };
  const closed = () => openScan() && part(`/v1/queue/${openScan()}/release`);
  const interval = setInterval(() => {
    const id = openScan();
    if (!id) return;
    if (performance.now() - touchedAt < IDLE_MS) return void renew(id);
    post(`/v1/queue/${id}/release`).catch(() => {});
    idle();
  }, everyMs);

  async function renew(id) {
    try {
      await post("/v1/queue/claim", { scan_id: id });
      if (openScan() !== id) await post(`/v1/queue/${id}/release`); // the reader has moved on meanwhile
    } catch (error) {
      if ((error.status === 409 || error.status === 404) && openScan() === id) lost(error);
    }
  }

  document.addEventListener("keydown", touched, true);
  document.addEventListener("pointermove", touched);
  window.addEventListener("pagehide", closed);
  return {
    end() {
      clearInterval(interval);
      document.removeEventListener("keydown", touched, true);
      document.removeEventListener("pointermove", touched);
      window.removeEventListener("pagehide", closed);
    },
  };
}
