import json
from xml.etree import ElementTree

import pytest

from companion.corpora import readers
from companion.corpora.conversation import Turn

SCENARIO = """
[scenario]
    name= _ "The Bridge"
    [event]
        [message]
            speaker=narrator
            message= _ "It was night."
        [/message]
        [message]
            speaker=Anna
            {FACE worried}
            message= _ "Who goes ""there""?
Answer me!"
        [/message]
#       [message]
        [message]
            speaker=Bert
            message= _ "Only me."
        [/message]
        [message]
            speaker=Bert
            message=_"And my dog."
        [/message]
        [message]
            speaker=Anna
            message= _ "Then pass."
        [/message]
    [/event]
    [event]
        [message]
            speaker=Bert
            message= _ "A new day."
        [/message]
    [/event]
[/scenario]
"""


def test_wesnoth_messages_are_read_by_event_without_narration_and_comments():
    scenes = [scene for scene in readers.parse_wesnoth_messages(SCENARIO) if scene]
    assert scenes == [
        [
            Turn("Anna", 'Who goes "there"? Answer me!'),
            Turn("Bert", "Only me."),
            Turn("Bert", "And my dog."),
            Turn("Anna", "Then pass."),
        ],
        [Turn("Bert", "A new day.")],
    ]


def test_wesnoth_replies_join_a_speaker_and_stay_in_their_scene(tmp_path):
    folder = tmp_path / "data" / "campaigns" / "The_Bridge" / "scenarios"
    folder.mkdir(parents=True)
    (folder / "01_Night.cfg").write_text(SCENARIO, encoding="utf-8")
    (folder.parent / "_main.cfg").write_text(SCENARIO, encoding="utf-8")
    first, second = readers.read_wesnoth(tmp_path)
    assert first.group == second.group == "The_Bridge/01_Night"
    assert (first.context, first.response) == ([Turn("A", 'Who goes "there"? Answer me!')], "Only me. And my dog.")
    assert [turn.speaker for turn in second.context] == ["B", "A"]
    assert second.response == "Then pass."


@pytest.mark.parametrize(
    "template,text",
    [
        ("<t>Plain  words.</t>", "Plain words."),
        ("<t>Yes.<think><set name='it'>tea</set></think> No.</t>", "Yes. No."),
        ("<t>I like <set name='it'>tea</set>.<br/>You?</t>", "I like tea . You?"),
        ("<t>My <bot name='genus'/> brain.</t>", None),
        ("<t>I like <set name='it'><star/></set></t>", None),
    ],
)
def test_literal_text(template, text):
    assert readers.get_literal_text(ElementTree.fromstring(template)) == text


AIML = """<aiml xmlns="http://alicebot.org/2001/AIML">
<category><pattern>WHO ARE YOU</pattern><template>A program.</template></category>
<category><pattern>DRINK *</pattern><template>Never.</template></category>
<category><pattern>WHY</pattern><that>I AM SAD</that><template>It rains.</template></category>
<category><pattern>HELLO</pattern><template><random><li>Hi.</li><li>Hello.</li></random></template></category>
<category><pattern>YES</pattern><template>Go on.</template></category>
<category><pattern>NO</pattern><template>Go on.</template></category>
</aiml>"""


def test_aiml_gives_literal_rules_whose_reply_stands_once(tmp_path):
    (tmp_path / "alice").mkdir()
    (tmp_path / "alice" / "a.aiml").write_text(AIML, encoding="utf-8")
    (tmp_path / "alice" / "sex.aiml").write_text(AIML.replace("program", "secret"), encoding="utf-8")
    rules = list(readers.read_aiml(tmp_path))
    assert [rule.response for rule in rules] == ["A program.", "It rains.", "Hi.", "Hello."]
    assert rules[0].context == [Turn("A", "who are you?")]
    assert rules[1].context == [Turn("B", "i am sad."), Turn("A", "why?")]
    assert rules[2].group == rules[3].group


def test_chatterbot_takes_every_turn_as_a_reply(tmp_path):
    (tmp_path / "data" / "english").mkdir(parents=True)
    entries = "categories: [x]\nconversations:\n- - One?\n  - Two.\n  - Three.\n- - 'one'\n  - 2\n"
    (tmp_path / "data" / "english" / "t.yml").write_text(entries, encoding="utf-8")
    first, second, third = readers.read_chatterbot(tmp_path)
    assert second.context == [Turn("B", "One?"), Turn("A", "Two.")]
    assert third.response == "2"
    assert first.group == third.group == "t:one"


def chat(ratings, *texts):
    turns = [[{"text": part} for part in text.split("/")] for text in texts]
    return {"messages": turns} | ({"ratings": dict(zip("abc", ratings, strict=True))} if ratings else {})


def test_chitchat_selects_by_mean_rating_and_joins_messages(tmp_path):
    chats = {
        "good": chat((10, 8, 9), "hi", "yes/so so!"),
        "bad": chat((1, 2, 5), "hi", "no"),
        "untouched": chat((5, 5, 5), "hi", "hm"),
        "unrated": chat(None, "hi", "oh"),
    }
    (tmp_path / "dataset.json").write_text(json.dumps(chats), encoding="utf-8")
    assert [(raw.group, raw.response) for raw in readers.read_chitchat(tmp_path, 8, 11)] == [("good", "yes. so so!")]
    assert [raw.group for raw in readers.read_chitchat(tmp_path, 0, 5)] == ["bad"]
    assert [raw.group for raw in readers.read_chitchat(tmp_path, 5, 8)] == []


@pytest.mark.parametrize(
    "answer,text",
    [
        ("Oslo", "Oslo"),
        (["a", 2], "a, 2"),
        ({"a": True, "b": ["c", "d"]}, "a: Yes; b: c, d"),
        (1.5, "1.5"),
        (False, "No"),
    ],
)
def test_answers_as_text(answer, text):
    assert readers.format_answer(answer) == text


def test_fanoutqa_gives_the_chain_before_each_question(tmp_path):
    (tmp_path / "data").mkdir()
    part = {"question": "P?", "answer": "1", "decomposition": [{"question": "O?", "answer": 0, "decomposition": []}]}
    whole = {"id": "q", "question": "W?", "answer": {"p": 1}, "decomposition": [part]}
    (tmp_path / "data" / "fanout-final-dev.json").write_text(json.dumps([whole]), encoding="utf-8")
    raws = list(readers.read_fanoutqa(tmp_path))
    assert [raw.response for raw in raws] == ["0", "1", "p: 1"]
    assert [turn.text for turn in raws[2].context] == ["O?", "0", "P?", "1", "W?"]
    assert "".join(turn.speaker for turn in raws[2].context) == "ABABA"
