"use strict";
// A requester shows who it is with the wallet in its browser (EIP-1193). It signs a text, no
// transaction. Without such a wallet the form stays hidden.
{
  const form = document.getElementById("wallet");

  async function sign(event) {
    event.preventDefault();
    const said = document.getElementById("wallet-said");
    said.textContent = "The wallet is asked …";
    try {
      const [address] = await window.ethereum.request({ method: "eth_requestAccounts" });
      const answer = await fetch(`${form.dataset.challenge}?address=${encodeURIComponent(address)}`);
      if (!answer.ok) throw new Error(`the pool gives no text to sign (${answer.status})`);
      const signature = await window.ethereum.request({
        method: "eth_signTypedData_v4",
        params: [address, await answer.text()],
      });
      form.elements.address.value = address;
      form.elements.signature.value = signature;
      form.submit();
    } catch (problem) {
      said.textContent = `It did not work: ${problem.message || problem}.`;
    }
  }

  function offer() {
    if (!form || !window.ethereum) return;
    form.hidden = false;
    form.addEventListener("submit", sign);
  }

  if (window.ethereum) offer();
  else addEventListener("ethereum#initialized", offer, { once: true });
}
