// What a reader has chosen for this browser: layout, latch, panels, sound. A browser may refuse to keep anything.

export function preferencesOf(me) {
  const place = (name) => `bagscan:${me.name}:${name}`;
  return {
    get: (name) => { try { return localStorage.getItem(place(name)); } catch { return null; } },
    set: (name, value) => { try { localStorage.setItem(place(name), value); } catch { /* kept for this page alone */ } },
  };
}
