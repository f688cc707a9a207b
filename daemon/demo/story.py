"""The long answer of the demo's model: how a letter goes from Chang'an to Dunhuang, in Chinese and English. Pure."""

from __future__ import annotations

ZH = """\
一封信从长安到敦煌，要走一千七百公里。

天不亮，信使在都亭驿领了信筒和凭证。凭证上写着他能换几匹马、走几天，少一样，下一站都不给马。

出了城往西，三十里一驿。马跑累了就换，人不用等马歇好：上一匹还在喝水，下一匹已经出了院门。这就是驿站的道理——急的是信，不是马。

到了凤翔，天阴下来，前面的桥在修。驿丞说，绕北边的路要多走半天，但不会停。信使没有犹豫：路断了就换一条，信不能丢在路上。

过了陇山，风里开始有沙。有一站的马都派出去了，最早的一匹要两个时辰才回来。驿丞把信登在簿子上，写明什么时候能走，请信使先吃碗热汤面。等得心里有数，就不算难等。

凉州城里灯火很亮。有人寄信走得急，没留下自己在哪条街。驿里就把回信放在架子上，贴好名字。他什么时候想起来，什么时候来取，信都在。

再往西是甘州、肃州，一站比一站小，簿子却记得一样清楚：哪封信来了，哪封走了，哪封还在等人。

第二十天傍晚，信使看见了鸣沙山。收信的人站在驿站门口，手在袖子里搓着。信筒打开，火漆是好的，一个字也不少。

他拆开信，先笑了，然后请信使进屋喝茶。"""

EN = """\
From Chang'an to Dunhuang a letter travels a thousand miles.

Before dawn the rider takes the sealed tube and a warrant. The warrant says how many horses he may change and how many days \
he has; without it no station gives him one.

West of the gate there is a posthouse every ten miles. A tired horse is changed, and nobody waits for it to rest: while one \
drinks, the next is out of the yard. That is the whole idea. The letter is in a hurry, not the horse.

At Fengxiang the sky turns grey and the bridge ahead is being mended. The northern road is half a day longer, says the \
postmaster, but it does not stop. So the rider takes it. When one way is closed there is another.

Beyond the mountains there is sand in the wind. At one station every horse is out, and the first will be back in four hours. \
The postmaster writes the letter into his book, says when it will leave, and brings hot noodles. A wait with an end is \
easy to bear.

In Liangzhou the lamps are bright. Someone sent a letter in haste and did not say where he lives. The answer is put on the \
shelf under his name; whenever he thinks of it, it is there.

Further west the stations grow smaller, and the books stay as exact: which letter came, which left, which is waiting.

On the twentieth evening the rider sees the singing dunes. Somebody stands at the door, rubbing his hands in his sleeves. \
The seal is whole, and not a word is missing.

He reads, and smiles, and asks the rider in for tea."""
