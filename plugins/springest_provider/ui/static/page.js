// Follows the theme of Airflow's UI, and lets one box tick all others. Everything works without it.
(function () {
  "use strict";
  var root = document.documentElement;

  function follow() {
    var theme = null;
    try {
      theme = window.localStorage.getItem("theme");
    } catch (error) {
      // Storage is not allowed here: the style sheet asks the browser instead.
    }
    if (theme === "light" || theme === "dark") {
      root.setAttribute("data-theme", theme);
    } else {
      root.removeAttribute("data-theme");
    }
  }

  follow();
  window.addEventListener("storage", follow);
  if (window.self !== window.top) {
    root.setAttribute("data-framed", "");
  }

  document.addEventListener("change", function (event) {
    var target = event.target;
    if (target.id === "tick-all") {
      document.querySelectorAll("input[name=chosen]").forEach(function (box) {
        box.checked = target.checked;
      });
    }
    if (target.hasAttribute("data-submit")) {
      target.form.submit();
    }
  });
})();
