// Preferences of a reader in this browser: layout, latch, panels, sound. A browser can refuse to store them.

export function preferencesOf(me) {
  const place = (name) => `bagscan:${me.name}:${name}`;
  return {
    get: (name) => { try { return localStorage.getItem(place(name)); } catch { return null; } },
    set: (name, value) => { try { localStorage.setItem(place(name), value); } catch { /* lasts only until the page closes */ } },
  };
}
