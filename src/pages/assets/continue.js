const go = () => location.replace(document.getElementById("continue").href);
addEventListener("load", go);
setTimeout(go, 5000);
