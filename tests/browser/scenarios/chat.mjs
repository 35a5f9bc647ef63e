// The chat beside the picture, against the make-believe server.

const HOSTILE = `<img src=x onerror="document.title='hacked'"><script>document.title='hacked'</script>`;
const lines = () => [...document.querySelectorAll('.chat .messages p')].map((line) => line.textContent);
const shows = (wanted) => [...document.querySelectorAll('.chat .messages p')].some((line) => line.textContent === wanted);
const gone = (wanted) => ![...document.querySelectorAll('.chat .messages p')].some((line) => line.textContent.includes(wanted));
const open = () => document.querySelector('.chat:not([hidden]) form:not([hidden])') !== null;
const closed = () => document.querySelector('.chat')?.hidden === true;

/** `phone`: a picture of it is kept for a small screen. */
export async function chat({ host, check, page, until, settled, shot, narrow, stats, open: go }, phone) {
  const name = phone ? 'phone' : 'desktop';
  const said = host.allowChat();
  said.add('Ann', 'Good evening from the north pier');
  said.add(HOSTILE, HOSTILE);
  said.add('שלום', 'من اليمين إلى اليسار');
  said.add('Otto', 'an-endless-word-'.repeat(20));
  await host.goLive({ size: '640x360' });
  await go();
  check(`chat ${name}: is there`, await until(open), await stats());
  check(`chat ${name}: what was said before is shown`, await until(shows, { arg: 'Ann Good evening from the north pier' }), await page.evaluate(lines));
  check(`chat ${name}: markup is text`, await until(shows, { arg: `${HOSTILE} ${HOSTILE}` }), await page.evaluate(lines));
  check(`chat ${name}: nothing of it became an element`, await page.evaluate(() => document.title !== 'hacked' && document.querySelector('img[onerror], .messages script') === null));
  check(`chat ${name}: nothing is wider than the screen`, await narrow());

  // By keyboard alone. Letters are no keys of the player's here.
  await page.locator('.chat .name').focus();
  await page.keyboard.type('Mike D');
  await page.keyboard.press('Tab');
  await page.keyboard.type('Moored & <b>fine</b>');
  await page.keyboard.press('Enter');
  check(`chat ${name}: what I say is shown`, await until(shows, { arg: 'Mike D Moored & <b>fine</b>' }), await page.evaluate(lines));
  check(`chat ${name}: the line is free for the next one`, await until(() => document.querySelector('.chat .text').value === '' && document.activeElement.className === 'text'));
  check(`chat ${name}: letters steer nothing`, await page.evaluate(() => !document.getElementById('stats').open && document.fullscreenElement === null));
  await page.keyboard.type('too much');
  await page.keyboard.press('Enter');
  check(`chat ${name}: why something is not said`, await until(() => document.querySelector('.chat [role=status]').textContent.includes('wait 2 s')));
  check(`chat ${name}: and it is not lost`, await page.evaluate(() => document.querySelector('.chat .text').value === 'too much'));
  check(`chat ${name}: what I said last is still to be seen`, await until(() => {
    const log = document.querySelector('.chat .messages');
    return log.scrollTop + log.clientHeight >= log.scrollHeight - 2;
  }));
  await page.locator('.chat .text').fill('');
  await settled();
  await page.locator('.chat').scrollIntoViewIfNeeded();
  await shot(`${name}-chat`);

  said.delete(1);
  check(`chat ${name}: what is deleted disappears`, await until(gone, { arg: 'north pier' }), await page.evaluate(lines));
  for (let n = 1; n <= 60; n++) said.add('Ann', `line ${n}`);
  check(`chat ${name}: it stays at the newest`, await until(() => {
    const log = document.querySelector('.chat .messages');
    return log.textContent.includes('line 60') && log.scrollHeight > log.clientHeight && log.scrollTop + log.clientHeight > log.scrollHeight - 40;
  }));
  await page.locator('.chat .messages').evaluate((log) => log.scrollTo(0, 0));
  said.add('Ann', 'one more');
  check(`chat ${name}: who reads above stays there`, await until(() => document.querySelector('.chat .newer:not([hidden])') !== null && document.querySelector('.chat .messages').scrollTop < 5));
  await page.locator('.chat .newer').click();
  check(`chat ${name}: and goes to the newest`, await until(() => document.querySelector('.chat .newer').hidden));

  said.switch(false);
  check(`chat ${name}: its owner closes it`, await until(closed));
  said.switch(true);
  check(`chat ${name}: and opens it again`, await until(open));
}

/** Each message when the picture comes to its time. */
export async function chatInReplay({ host, check, page, until, shot, stats, open: go }) {
  const said = host.allowChat();
  await host.goLive({ size: '640x360' });
  const { current } = host;
  const began = current.tracks.video.segments[0].wallMs;
  said.add('Ann', 'at the start', began + 500);
  said.add('Otto', 'deleted', began + 600);
  said.add('Ann', 'near the end', began + 7_500);
  said.delete(2);
  await current.lasts(10);
  host.end();
  await go(`/${current.uid}/watch`);
  check('chat replay: the picture plays', await until(() => document.querySelector('airwave-player').stats.playingAtMs !== null && document.querySelector('airwave-player').video.currentTime > 1), await stats());
  check('chat replay: what was said by then', await until(shows, { arg: 'Ann at the start' }), await page.evaluate(lines));
  check('chat replay: and nothing that was said later', await page.evaluate(() => document.querySelector('airwave-player').video.currentTime > 6.5 || !document.querySelector('.chat .messages').textContent.includes('near the end')));
  check('chat replay: nothing can be said', await page.evaluate(() => document.querySelector('.chat form').hidden));
  await shot('desktop-chat-replay');
  await page.evaluate(() => {
    document.querySelector('airwave-player').video.currentTime = 9;
  });
  check('chat replay: further on, more', await until(shows, { arg: 'Ann near the end' }), await page.evaluate(lines));
  await page.evaluate(() => {
    document.querySelector('airwave-player').video.currentTime = 2;
  });
  check('chat replay: back again, less', await until(gone, { arg: 'near the end' }), await page.evaluate(lines));
  check('chat replay: what was deleted never', await page.evaluate(() => !document.querySelector('.chat').textContent.includes('deleted')));
}

/** Its owner, on the dashboard. `card`: of the live input. */
export async function chatOfTheOwner({ host, check, page, until, settled, shot, narrow }, card, name) {
  const said = host.chat;
  const panel = card.locator('.said');
  check(`dashboard ${name}: the chat is off`, (await panel.locator('summary').textContent()).includes('off'));
  await panel.locator('summary').click();
  await panel.getByRole('switch').click();
  check(`dashboard ${name}: the chat is on`, await until(() => document.querySelector('.said summary').textContent.includes('may chat')));
  await panel.locator('li').first().waitFor();
  check(`dashboard ${name}: what was said is text`, (await panel.locator('li').first().textContent()).includes(HOSTILE));
  check(`dashboard ${name}: with the chat nothing is wider than the screen`, await narrow());
  await settled();
  await shot(`${name}-dashboard-chat`, { fullPage: true });
  await panel.getByRole('button', { name: /^Delete the message of/ }).first().click();
  check(`dashboard ${name}: a message is deleted`, await until(() => document.querySelectorAll('.said li').length === 1) && said.messages.length === 1);
  await panel.getByRole('button', { name: 'Delete all' }).click();
  await page.locator('dialog[open] .danger').click();
  check(`dashboard ${name}: all are`, await until(() => document.querySelectorAll('.said li').length === 0) && said.messages.length === 0);
  await panel.locator('summary').click();
}

/** What the owner finds. */
export function saySomething(host) {
  const said = host.allowChat();
  said.add('Ann', 'Good evening');
  said.add(HOSTILE, HOSTILE);
}
