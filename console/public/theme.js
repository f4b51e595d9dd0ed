// Before anything is drawn, so that a dark console never flashes white.
(function () {
  var wish = 'system';
  try {
    wish = localStorage.getItem('occm.theme') || 'system';
  } catch (_) {
    // No storage: the system decides.
  }
  var dark = wish === 'dark' || (wish === 'system' && matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.classList.toggle('pf-v6-theme-dark', dark);
})();
